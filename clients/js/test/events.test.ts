/** A model's events from a real service, over connections that are cut. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Client, Missed, type ReplyEvent, Unauthorized, UnknownModel } from "../src/index.js";
import { CuttingProxy } from "./proxy.js";
import { connect, someModel, URL_OF_SERVICE } from "./service.js";

describe("events", () => {
  it("tell every reply of the streams that are followed, with its item", async () => {
    const model = await someModel();
    const events = await model.events({ streams: ["a", "c"] }).open();
    const [reply] = [await model.stream("a").observe({ load: 1 }, { timestamp: "2026-01-01T10:00:00Z" })];
    await model.stream("b").observe({ load: 2 });
    await model.stream("c").observe({ load: null });
    const { value } = await events.next();
    assert.ok(value !== undefined && !(value instanceof Missed));
    const { id, item, timestamp, ...rest } = value;
    assert.deepEqual([rest, item, timestamp], [reply, { load: 1 }, "2026-01-01T10:00:00Z"]);
    assert.match(id, /-\d+$/);
    assert.equal(((await events.next()).value as ReplyEvent).stream, "c");
    await events.return();
    assert.deepEqual(await events.next(), { value: undefined, done: true });
  });

  it("go on where they were after a break, and from an id that is known", async () => {
    const model = await someModel();
    const stream = model.stream("a");
    const proxy = new CuttingProxy(URL_OF_SERVICE, 0, () => 0);
    const followed = connect({}, await proxy.listen()).model(model.name);
    const events = await followed.events().open();
    const seen: ReplyEvent[] = [];
    for (let load = 1; load <= 6; load++) {
      await stream.observe({ load });
      if (load === 2) {
        seen.push((await events.next()).value as ReplyEvent);
        proxy.cutNow();
      }
    }
    while (seen.length < 6) seen.push((await events.next()).value as ReplyEvent);
    assert.deepEqual(
      seen.map((event) => event.sequence),
      [1, 2, 3, 4, 5, 6],
    );
    const later = model.events({ after: seen[3]?.id });
    for await (const event of later) {
      assert.equal((event as ReplyEvent).sequence, 5);
      break;
    }
    await events.return();
    await proxy.close();
  });

  it("say that some were missed where nothing can be resumed", async () => {
    const model = await someModel();
    const events = await model.events({ after: "elsewhere-7" }).open();
    const { value } = await events.next();
    assert.ok(value instanceof Missed);
    assert.equal(value.count, null);
    await events.return();
  });

  it("end with the model, with the signal's reason, and without the key at once", async () => {
    const model = await someModel();
    const events = await model.events().open();
    await model.delete();
    await assert.rejects(events.next(), UnknownModel);
    await assert.rejects(model.events().open(), UnknownModel);
    const other = await someModel();
    const controller = new AbortController();
    const reason = new Error("enough");
    const left = await other.events({ signal: controller.signal }).open();
    const next = left.next();
    controller.abort(reason);
    await assert.rejects(next, (error) => error === reason);
    await assert.rejects(new Client(URL_OF_SERVICE).model(other.name).events().next(), Unauthorized);
  });

  it("end quietly for who leaves while he waits", async () => {
    const events = await (await someModel()).events().open();
    const next = events.next();
    await events.return();
    assert.deepEqual(await next, { value: undefined, done: true });
  });
});
