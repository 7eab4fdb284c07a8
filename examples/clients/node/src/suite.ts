// One typed client per service: they are separate servers.

import { readFileSync } from "node:fs";

import { createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { DatasetService } from "../gen/isogloss/v1/dataset_service_pb.js";
import { InferenceService } from "../gen/isogloss/v1/inference_service_pb.js";
import { ModelService } from "../gen/isogloss/v1/model_service_pb.js";

export type Suite = ReturnType<typeof connect>;

/** Prepares the connections that the environment describes; opens them on first use. */
export function connect(env = process.env) {
  const ca = env.ISOGLOSS_TLS_CA;
  const key = env.ISOGLOSS_API_KEY;

  const authenticate: Interceptor = (next) => (request) => {
    if (key) request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const transport = (address: string) =>
    createGrpcTransport({
      baseUrl: `${ca ? "https" : "http"}://${address}`,
      nodeOptions: ca ? { ca: readFileSync(ca) } : {},
      interceptors: [authenticate],
    });

  return {
    datasets: createClient(DatasetService, transport(env.ISOGLOSS_INGEST ?? "127.0.0.1:50051")),
    models: createClient(ModelService, transport(env.ISOGLOSS_TRAINER ?? "127.0.0.1:50052")),
    inference: createClient(
      InferenceService,
      transport(env.ISOGLOSS_INFERENCE ?? "127.0.0.1:50053"),
    ),
  };
}
