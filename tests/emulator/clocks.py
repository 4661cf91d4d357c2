"""A storage service whose clock tells a day to come."""

from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Final

from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import SansIOHTTPPolicy

AHEAD: Final = timedelta(days=400)


class Ahead(SansIOHTTPPolicy[Any, Any]):
    """Has the service's clock tell a later day than that on which everything was written."""

    def on_response(self, _request: object, response: PipelineResponse[Any, Any]) -> None:
        headers = response.http_response.headers
        headers["Date"] = format_datetime(parsedate_to_datetime(headers["Date"]) + AHEAD, usegmt=True)
