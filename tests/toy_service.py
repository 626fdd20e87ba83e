"""A service that the product does not know: `toy.v1.ToyService`, its descriptor built here without a proto file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, MethodOptions
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.errors import LimitExceeded, ShortlistError
from shortlist.server.services import Method, Service

MAX_CHARS = 1000


def _describe() -> FileDescriptorProto:
    file = FileDescriptorProto(name="toy/v1/toy.proto", package="toy.v1", syntax="proto3")
    for name in ("EchoRequest", "EchoResponse"):
        message = file.message_type.add(name=name)
        message.field.add(
            name="text", number=1, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL
        )
    service = file.service.add(name="ToyService")
    for name, level in (("Echo", MethodOptions.NO_SIDE_EFFECTS), ("Append", MethodOptions.IDEMPOTENCY_UNKNOWN)):
        rpc = service.method.add(name=name, input_type=".toy.v1.EchoRequest", output_type=".toy.v1.EchoResponse")
        rpc.options.idempotency_level = level
    return file


Default().AddSerializedFile(_describe().SerializeToString())
DESCRIPTOR = Default().FindServiceByName("toy.v1.ToyService")
ECHO, APPEND = DESCRIPTOR.methods
EchoRequest: Any = GetMessageClass(ECHO.input_type)
EchoResponse: Any = GetMessageClass(ECHO.output_type)


@dataclass
class Toy:
    """Echo returns the text `times` over, Append keeps it and does the same.

    Both let the engine score the text first, so that its gate holds them back, and then raise `failure` if one is set.
    """

    times: int = 1
    failure: ShortlistError | None = None
    kept: list[str] = field(default_factory=list)

    @property
    def service(self) -> Service:
        return Service(DESCRIPTOR, (self._method(ECHO, self._echo), self._method(APPEND, self._append)))

    def _method(self, descriptor: Any, handle: Any) -> Method:
        return Method(descriptor=descriptor, handle=handle, check=_check, expected_tokens=lambda request: 10)

    def _echo(self, router: Any, request: Any, cancel: CancelToken, waited_ms: float) -> Any:
        router.rerank("toy", [request.text], cancel=cancel)
        if self.failure is not None:
            raise self.failure
        return EchoResponse(text=request.text * self.times)

    def _append(self, router: Any, request: Any, cancel: CancelToken, waited_ms: float) -> Any:
        self.kept.append(request.text)
        return self._echo(router, request, cancel, waited_ms)


def _check(request: Any) -> None:
    if len(request.text) > MAX_CHARS:
        raise LimitExceeded("is too long", limit=MAX_CHARS, actual=len(request.text), field="text")
