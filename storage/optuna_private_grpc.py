"""The private parts of Optuna's gRPC proxy: a client on a channel of our own, and the server's service."""

from collections.abc import Mapping

import grpc  # type: ignore[import-untyped]
from optuna.storages import BaseStorage, GrpcStorageProxy
from optuna.storages._grpc.auto_generated.api_pb2 import GetStudyIdFromNameRequest
from optuna.storages._grpc.auto_generated.api_pb2_grpc import StorageServiceStub, add_StorageServiceServicer_to_server
from optuna.storages._grpc.client import GrpcClientCache
from optuna.storages._grpc.servicer import OptunaStorageProxyService


class ProxyClient(GrpcStorageProxy):
    """Optuna's client on a channel with `channel_options`."""

    channel_options: Mapping[str, int] = {}

    def _setup(self) -> None:
        self._channel = grpc.insecure_channel(f"{self._host}:{self._port}", options=[*self.channel_options.items()])
        self._stub = StorageServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._cache = GrpcClientCache(self._stub)

    def ping(self, timeout_s: float) -> None:
        """Ask the proxy for anything, once. Raises grpc.RpcError where it does not answer."""
        try:
            self._stub.GetStudyIdFromName(GetStudyIdFromNameRequest(study_name=""), timeout=timeout_s)
        except grpc.RpcError as why:
            if why.code() != grpc.StatusCode.NOT_FOUND:  # there is no study without a name
                raise


def add_service(server: grpc.Server, storage: BaseStorage) -> None:
    """Let `server` answer for `storage`."""
    add_StorageServiceServicer_to_server(OptunaStorageProxyService(storage), server)  # type: ignore[no-untyped-call]
