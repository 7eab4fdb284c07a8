// The five steps from a file to answers. Each prints what it sees.

import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";

import type { MessageInitShape } from "@bufbuild/protobuf";

import { Dataset_State, type Dataset } from "../gen/isogloss/v1/dataset_pb.js";
import type { WriteDatasetRequestSchema } from "../gen/isogloss/v1/dataset_service_pb.js";
import { Model_State, type Model } from "../gen/isogloss/v1/model_pb.js";
import { Split } from "../gen/isogloss/v1/split_pb.js";
import { toError } from "./errors.js";
import type { Suite } from "./suite.js";
import { dot, unpack } from "./vector.js";

const chunk = 256 * 1024; // Bytes of a message; the server takes up to 1 MiB.
const patient = { timeoutMs: 60_000 }; // The first call of inference loads the model.

/** Creates a dataset, streams the file into it, has it validated, and returns its name. */
export async function upload({ datasets }: Suite, title: string, path: string): Promise<string> {
  const { name } = await datasets.createDataset({
    dataset: { displayName: title },
    requestId: randomUUID(),
  });

  const hash = createHash("sha256");
  async function* messages(): AsyncIterable<MessageInitShape<typeof WriteDatasetRequestSchema>> {
    yield { name, split: Split.TRAIN };
    for await (const data of createReadStream(path, { highWaterMark: chunk })) {
      hash.update(data);
      yield { data };
    }
  }
  const { committedSize } = await datasets.writeDataset(messages());

  await datasets.finalizeDataset({
    name,
    checksums: [{ split: Split.TRAIN, sizeBytes: committedSize, sha256: hash.digest("hex") }],
  });
  console.log(`${name}: uploaded ${committedSize} bytes`);
  return name;
}

/** Follows the validation and tells what came of it. */
export async function validate({ datasets }: Suite, name: string): Promise<void> {
  let dataset: Dataset | undefined;
  for await (const change of datasets.watchDataset({ name })) {
    dataset = change.dataset;
    if (dataset) console.log(`${name}: ${Dataset_State[dataset.state]}`);
  }

  for (const { split, rowCount } of dataset?.report?.splits ?? []) {
    console.log(`  ${rowCount} rows of ${Split[split]}`);
  }
  for (const warning of dataset?.report?.warnings ?? []) {
    console.log(`  warning: ${warning}`);
  }
  if (dataset?.state !== Dataset_State.READY) {
    throw dataset?.error ? toError(dataset.error) : new Error(`${name} did not become READY`);
  }
}

export interface Training {
  title: string;
  dataset: string;
  base: string;
  epochs: number | undefined;
}

/** Creates a model, prints its metrics while it learns, and returns its name. */
export async function train(
  { models }: Suite,
  { title, dataset, base, epochs }: Training,
): Promise<string> {
  const { name } = await models.createModel({
    model: { displayName: title, dataset, baseModel: base, hyperparameters: { epochs } },
    requestId: randomUUID(),
  });

  let model: Model | undefined;
  for await (const change of models.watchModel({ name })) {
    model = change.model;
    const event = change.event?.event;
    if (event?.case === "stateChange") {
      console.log(`${name}: ${Model_State[event.value.state]}`);
    } else if (event?.case === "stepMetrics") {
      const { step, loss, accuracy, precision, recall, f1 } = event.value;
      const numbers = Object.entries({ loss, accuracy, precision, recall, f1 });
      const columns = numbers.map(([title, value]) => `${title} ${value.toFixed(4)}`);
      console.log(["  step", String(step).padStart(4), ...columns].join("  "));
    }
  }
  if (model?.state !== Model_State.READY) {
    throw model?.error ? toError(model.error) : new Error(model?.stateReason ?? `${name} is lost`);
  }
  return name;
}

/** Prints each text's labels, most confident first. */
export async function classify({ inference }: Suite, model: string, texts: string[]) {
  const { results } = await inference.classify({ model, texts }, patient);
  results.forEach(({ outcome }, i) => {
    if (outcome.case === "error") throw toError(outcome.value);
    console.log(JSON.stringify(texts[i]));
    for (const { label, confidence } of outcome.value?.labels ?? []) {
      console.log(`  ${label} ${confidence.toFixed(4)}`);
    }
  });
}

/** Prints the beginning of each text's vector and how close it is to the first. */
export async function embed({ inference }: Suite, model: string, texts: string[]) {
  const { results, dimension } = await inference.embed({ model, texts }, patient);
  const vectors = results.map(({ outcome }) => {
    if (outcome.case === "error") throw toError(outcome.value);
    const values = outcome.value?.values;
    if (values?.case !== "packed" || values.value.length !== 4 * dimension) {
      throw new Error(`expected ${dimension} packed numbers`);
    }
    return unpack(values.value);
  });
  vectors.forEach((vector, i) => {
    const head = Array.from(vector.slice(0, 4), (value) => value.toFixed(6)).join(" ");
    const cosine = dot(vectors[0]!, vector).toFixed(4);
    console.log(JSON.stringify(texts[i]));
    console.log(`  ${dimension} numbers: [${head}] ...  cosine to the first text: ${cosine}`);
  });
}
