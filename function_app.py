"""The function app: its triggers, in the order of the flow. The Functions worker looks for it here."""

import azure.functions as func

from functions import advance, api, drop, poison, repair, schedules, submissions

app = func.FunctionApp()
app.register_functions(drop.blueprint)
app.register_functions(submissions.blueprint)
app.register_functions(schedules.blueprint)
app.register_functions(api.blueprint)
app.register_functions(advance.blueprint)
app.register_functions(poison.blueprint)
app.register_functions(repair.blueprint)
