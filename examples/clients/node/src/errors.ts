import { Code, ConnectError } from "@connectrpc/connect";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.js";
import type { Status } from "../gen/google/rpc/status_pb.js";

/** Writes an error for a person, with everything that the server says about it. */
export function explain(error: unknown): string {
  if (!(error instanceof ConnectError)) {
    return `error: ${error instanceof Error ? error.message : error}`;
  }
  return [
    `error: ${Code[error.code]}: ${error.rawMessage}`,
    ...error.findDetails(ErrorInfoSchema).map((info) => `  reason: ${info.reason}`),
    ...error
      .findDetails(BadRequestSchema)
      .flatMap((bad) => bad.fieldViolations)
      .map((violation) => `  ${violation.field}: ${violation.description}`),
    ...error
      .findDetails(PreconditionFailureSchema)
      .flatMap((failure) => failure.violations)
      .map((violation) => `  ${violation.subject}: ${violation.description}`),
    ...error
      .findDetails(RetryInfoSchema)
      .map((retry) => `  try again in ${retry.retryDelay?.seconds ?? 0} s`),
  ].join("\n");
}

/** Makes of a status inside an answer the error that a refused call throws. */
export function toError(status: Status): ConnectError {
  const error = new ConnectError(status.message, status.code);
  error.details = status.details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return error;
}
