// Writes src/openapi.ts, the types of the service's requests and replies, from the service in this repository.
// PYTHON names an interpreter with the service's packages; without it python3 is taken.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { typesOf } from "./types.mjs";

const PROGRAM = `
import json
from service.app import create_app
from service.settings import Settings
print(json.dumps(create_app(Settings()).openapi()))
`;

const root = fileURLToPath(new URL("../../..", import.meta.url));
// The document tells bounds that are settings: those of this machine's environment are not the defaults.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("STEPAHEAD_")));
const options = { cwd: root, env: environment, encoding: "utf8", maxBuffer: 2 ** 26 };
const document = execFileSync(process.env.PYTHON ?? "python3", ["-c", PROGRAM], options);
writeFileSync(new URL("../src/openapi.ts", import.meta.url), await typesOf(JSON.parse(document)));
