"""A typed client of the REST API; needs neither the model nor the server's packages.

from server.client import Client, mask_of

with Client("http://127.0.0.1:8080") as client:
answer = client.segment("scan.dcm", ["liver"], dataset="msd_liver_ct")
mask = mask_of(answer.images[0].masks[0])
"""

from server.client.client import Client, File, mask_of
from server.client.errors import (
    BusyError,
    ClientError,
    NoAnswerError,
    NotFoundError,
    ProblemError,
    RefusedError,
    ServerFaultError,
    TimedOutError,
    UnexpectedAnswerError,
)
from server.client.forms import Upload

__all__ = [
    "BusyError",
    "Client",
    "ClientError",
    "File",
    "NoAnswerError",
    "NotFoundError",
    "ProblemError",
    "RefusedError",
    "ServerFaultError",
    "TimedOutError",
    "UnexpectedAnswerError",
    "Upload",
    "mask_of",
]
