/** What is published: nothing that only Node has, nothing that is out of date. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import type * as stepahead from "../src/index.js";
import { KEY, someModel, someRows, URL_OF_SERVICE } from "./service.js";

const HERE = fileURLToPath(new URL("../..", import.meta.url));
/** What a page has, of all that the client uses. */
const WEB = {
  AbortController,
  AbortSignal,
  URL,
  URLSearchParams,
  TextDecoder,
  TextEncoder,
  WebSocket,
  btoa,
  clearTimeout,
  fetch,
  performance,
  queueMicrotask,
  setTimeout,
};

/** Load the built modules as a page would: with relative imports alone, and no global of Node's. */
async function loadAsPage(): Promise<typeof stepahead> {
  const context = vm.createContext({ ...WEB });
  const modules = new Map<string, vm.SourceTextModule>();
  const load = (name: string): vm.SourceTextModule => {
    let module = modules.get(name);
    if (module === undefined) {
      module = new vm.SourceTextModule(readFileSync(`${HERE}dist/${name}`, "utf8"), { context, identifier: name });
      modules.set(name, module);
    }
    return module;
  };
  const entry = load("index.js");
  await entry.link((specifier) => {
    assert.match(specifier, /^\.\/[a-z]+\.js$/);
    return load(specifier.slice(2));
  });
  await entry.evaluate();
  return entry.namespace as typeof stepahead;
}

describe("the package", () => {
  it("works with what browsers have", async () => {
    const { name } = await someModel();
    const page = await loadAsPage();
    const model = new page.Client(URL_OF_SERVICE, { apiKey: KEY }).model(name);
    const events = await model.events().open();
    for (const via of ["websocket", "requests"] as const) {
      let n = 0;
      for await (const reply of model.observeMany(someRows(20, 2), { via })) n += reply.duplicate ? 0 : 1;
      assert.equal(n, 20);
    }
    assert.equal(((await events.next()).value as stepahead.ReplyEvent).sequence, 1);
    await events.return();
  });

  it("has types of what the service documents: else npm run openapi", async () => {
    const response = await fetch(`${URL_OF_SERVICE}/openapi.json`, { headers: { Authorization: `Bearer ${KEY}` } });
    const generator = (await import(`${HERE}scripts/types.mjs`)) as { typesOf(document: unknown): Promise<string> };
    assert.equal(await generator.typesOf(await response.json()), readFileSync(`${HERE}src/openapi.ts`, "utf8"));
  });

  it("needs nothing at run time, and is locked to the public registry", () => {
    const manifest = JSON.parse(readFileSync(`${HERE}package.json`, "utf8")) as Record<string, unknown>;
    assert.deepEqual(
      [manifest["dependencies"], manifest["type"], manifest["license"]],
      [undefined, "module", "Apache-2.0"],
    );
    const lock = readFileSync(`${HERE}package-lock.json`, "utf8");
    const hosts = [...lock.matchAll(/"resolved": "(https?:\/\/[^/]+)/g)].map(([, host]) => host);
    assert.ok(hosts.length > 0);
    assert.deepEqual([...new Set(hosts)], ["https://registry.npmjs.org"]);
  });

  it("holds the modules, their types, the licence and the readme", () => {
    const [packed] = JSON.parse(
      execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
        cwd: HERE,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }),
    ) as [{ files: { path: string }[] }];
    const expected = readdirSync(`${HERE}src`).flatMap((file) => {
      const name = file.replace(/\.ts$/, "");
      return [`dist/${name}.d.ts`, `dist/${name}.js`];
    });
    const files = packed.files.map((file) => file.path);
    assert.deepEqual(files.sort(), [...expected, "LICENSE", "README.md", "package.json"].sort());
  });
});
