// Compiles the client and its tests, and runs these against one service of this repository, started for them.
// Arguments are parts of the names of the test files to run; without any all are run.
// PYTHON names an interpreter with the service's packages; without it python3 is taken.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "stepahead-js-"));
const log = join(folder, "log");
const key = "k?~>}test~key~~"; // its base64 has a + and a /, which a subprotocol must not have
const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("STEPAHEAD_")));

writeExamples();
const service = spawn(
  process.env.PYTHON ?? "python3",
  [
    "-m",
    "service",
    "serve",
    "--port",
    "0",
    "--data-dir",
    join(folder, "data"),
    "--heartbeat-s",
    "1",
    "--kept-replies",
    "20",
  ],
  {
    cwd: join(here, "../.."),
    env: { ...inherited, STEPAHEAD_API_KEYS: key },
    stdio: ["ignore", "pipe", openSync(log, "w")],
  },
);
const ended = once(service, "exit");
let passed = false;
try {
  const [url, ...compiled] = await Promise.all([
    address(service.stdout),
    compile("tsconfig.json"),
    compile("tsconfig.test.json"),
  ]);
  passed = compiled.every(Boolean) && (await test(url));
} finally {
  service.kill();
  await ended;
  if (!passed) process.stderr.write(readFileSync(log));
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = passed ? 0 : 1;

async function address(output) {
  for await (const line of createInterface(output)) {
    const found = /listens on (\S+)/.exec(line);
    if (found) return found[1];
  }
  throw new Error("the service did not start");
}

/** Lets the readme's examples be compiled with the tests, each as a module's function. */
function writeExamples() {
  const imports = ["export declare const client: Client, readings: [number, string][];"];
  const functions = [...readFileSync(join(here, "README.md"), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(
    ([, code], i) => {
      const body = code.replaceAll(/^import .* from "stepahead";$/gm, (line) => {
        imports.push(line.replace("stepahead", "../src/index.js"));
        return "";
      });
      return `export async function example${i}() {\n${body}}`;
    },
  );
  mkdirSync(join(here, "build"), { recursive: true });
  writeFileSync(join(here, "build/readme.ts"), [...imports, ...functions].join("\n"));
}

function compile(project) {
  return succeeds([join(here, "node_modules/typescript/bin/tsc"), "-p", join(here, project)], inherited);
}

function test(url) {
  const flags = ["--enable-source-maps", "--experimental-vm-modules", "--no-warnings"];
  if (Number(process.versions.node.split(".")[0]) < 22) flags.push("--experimental-websocket");
  const tests = join(here, "build/test");
  const wanted = process.argv.slice(2);
  const files = readdirSync(tests)
    .filter((name) => name.endsWith(".test.js") && (wanted.length === 0 || wanted.some((part) => name.includes(part))))
    .map((name) => join(tests, name));
  // They wait more than they compute.
  return succeeds(
    [...flags, "--test", "--test-concurrency=4", "--test-timeout=120000", "--test-reporter=spec", ...files],
    {
      ...inherited,
      STEPAHEAD_TEST_URL: url,
      STEPAHEAD_TEST_KEY: key,
    },
  );
}

/** Whether Node ends well with these arguments. */
async function succeeds(args, env) {
  const [status] = await once(spawn(process.execPath, args, { env, stdio: "inherit" }), "exit");
  return status === 0;
}
