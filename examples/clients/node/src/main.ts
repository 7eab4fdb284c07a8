// Takes a CSV file of labelled messages all the way to a model: uploads and validates the
// file, fine-tunes on it, and classifies and embeds new texts.

import { basename, extname } from "node:path";
import { parseArgs } from "node:util";

import { explain } from "./errors.js";
import { connect } from "./suite.js";
import { classify, embed, train, upload, validate } from "./walk.js";

const usage = `Usage: npm start -- [--base NAME] [--epochs N] FILE.csv TEXT [TEXT ...]

FILE.csv has two columns, text and label, and at least 250 rows.

  --base NAME   base model to start from (baseModels/small)
  --epochs N    passes over the training rows; without it the server chooses

Servers and credentials come from the environment:
  ISOGLOSS_INGEST     host:port of the ingest service     (127.0.0.1:50051)
  ISOGLOSS_TRAINER    host:port of the trainer service    (127.0.0.1:50052)
  ISOGLOSS_INFERENCE  host:port of the inference service  (127.0.0.1:50053)
  ISOGLOSS_API_KEY    the key to send                     (none)
  ISOGLOSS_TLS_CA     PEM file that TLS servers are verified by; none: no TLS
`;

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        base: { type: "string", default: "baseModels/small" },
        epochs: { type: "string" },
      },
    });
    const [csv, ...texts] = positionals;
    const epochs = values.epochs === undefined ? undefined : Number(values.epochs);
    if (csv && texts.length > 0 && !Number.isNaN(epochs)) {
      return { csv, texts, epochs, base: values.base };
    }
  } catch (error) {
    console.error(String(error));
  }
  console.error(usage);
  process.exit(2);
}

const { csv, texts, base, epochs } = readArguments();
try {
  const suite = connect();
  const title = basename(csv, extname(csv));
  const dataset = await upload(suite, title, csv);
  await validate(suite, dataset);
  const model = await train(suite, { title, dataset, base, epochs });
  await classify(suite, model, texts);
  await embed(suite, model, texts);
} catch (error) {
  console.error(explain(error));
  process.exitCode = 1;
}
