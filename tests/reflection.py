#!/usr/bin/env python3
"""What grpcurl does, by the reference implementation of gRPC reflection: finds services, calls and
messages by asking the server alone, with no .proto file at hand, and makes the calls that need no session.

    reflection.py HOST:PORT ANCHOR.pem      prints one line for each call that was made
"""

import sys
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PUBLIC = [
    ("jitssh.v1.Trust", "GetRoot", {}),
    ("jitssh.v1.Trust", "GetBundle", {"parts": ["BUNDLE_PART_HOSTS"]}),
    ("jitssh.v1.Trust", "GetCaKeys", {}),
    ("jitssh.v1.Trust", "GetKrl", {}),
    ("grpc.health.v1.Health", "Check", {"service": "jitssh.v1.Access"}),
]

address, anchor = sys.argv[1:]
channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(Path(anchor).read_bytes()))
database = ProtoReflectionDescriptorDatabase(channel)
pool = DescriptorPool(database)
for service in sorted(database.get_services()):
    calls = [method.name for method in pool.FindServiceByName(service).methods]
    print(service, *calls)
for service, name, message in PUBLIC:
    method = pool.FindServiceByName(service).FindMethodByName(name)
    ask, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = channel.unary_unary(f"/{service}/{name}", ask.SerializeToString, answer.FromString)
    said = json_format.MessageToDict(call(json_format.ParseDict(message, ask()), timeout=30))
    print("called", f"{service}/{name}", ",".join(sorted(said)))
