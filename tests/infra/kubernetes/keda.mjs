// Checks objects against the schemas of KEDA's own API types.
// Reads a JSON list of them and writes a list of texts: what is wrong with each, empty when nothing is.

import { readFileSync } from "node:fs";
import * as keda from "@kubernetes-models/keda/keda.sh/v1alpha1";

const objects = JSON.parse(readFileSync(0, "utf8"));
const told = objects.map((object) => {
  const Model = keda[object.kind];
  if (Model === undefined) return `KEDA has no ${object.kind}`;
  try {
    new Model(object).validate();
    return "";
  } catch (error) {
    return String(error.message);
  }
});
process.stdout.write(JSON.stringify(told));
