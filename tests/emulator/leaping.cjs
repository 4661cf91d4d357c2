// Loaded into Azurite before its own code: its clock is ahead by as many milliseconds as stand in the file that
// LEAPS names. Read at each look at the clock, so that a leap is over before whoever made it asks for anything.
"use strict";
const { readFileSync } = require("node:fs");
const { ServerResponse } = require("node:http");

const Real = Date;
const now = () => Real.now() + Number(readFileSync(process.env.LEAPS, "utf8"));

globalThis.Date = new Proxy(Real, {
  get: (real, name) => (name === "now" ? now : Reflect.get(real, name)),
  construct: (real, parts, made) => Reflect.construct(real, parts.length ? parts : [now()], made === Date ? real : made),
  apply: (real) => new real(now()).toString(),
});

// Azurite leaves the Date of an answer that tells of an error to Node.js, whose own clock does not leap.
const { writeHead } = ServerResponse.prototype;
ServerResponse.prototype.writeHead = function (...parts) {
  if (!this.hasHeader("date")) this.setHeader("Date", new Date().toUTCString());
  return writeHead.apply(this, parts);
};
