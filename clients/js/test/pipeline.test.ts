/** The state machine of many items against a service in memory that is cut off and refuses at random. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  InvalidItem,
  InvalidRequest,
  SequenceGap,
  SequenceTaken,
  StepaheadError,
  UnknownModel,
} from "../src/errors.js";
import type { Outcome } from "../src/lane.js";
import { Pipeline, type PipelineOptions } from "../src/pipeline.js";
import { DEFAULT_POLICY } from "../src/retry.js";
import { toObservation } from "../src/rows.js";
import { real, type RowLike } from "../src/types.js";
import { FakeService } from "./fake.js";
import { seeded } from "./random.js";

const PATIENT = { ...DEFAULT_POLICY, retries: 1000 };
const SEEDS = Number(process.env["SEEDS"] ?? 30);
/** Turns without an outcome after which a run is taken for stuck. */
const MAX_TURNS = 100_000;

function row(stream: string, value: number | null, sequence?: number): RowLike {
  return { stream, item: { value }, ...(sequence === undefined ? {} : { sequence }) };
}

/** Random streams and values; some cannot be learned. */
function rows(random: () => number, n: number, nStreams: number, invalid = 0): RowLike[] {
  return Array.from({ length: n }, (_, i) =>
    row(`s-${Math.floor(random() * nStreams)}`, random() < invalid ? null : i),
  );
}

/** Drive a pipeline to its end, with a clock that only moves where something waits for its time. */
function run(service: FakeService, given: RowLike[], options: Partial<PipelineOptions> = {}): Outcome[] {
  const random = seeded(7);
  const pipeline = new Pipeline({
    policy: PATIENT,
    errors: "yield",
    chunk: 16,
    maxFrames: Infinity,
    random,
    ...options,
  });
  const outcomes: Outcome[] = [];
  const waiting = given.map((one) => toObservation(one));
  let nowMs = 0;
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    for (let next = waiting[0]; next !== undefined && pipeline.hasRoom; next = waiting[0]) {
      pipeline.add(next);
      waiting.shift();
    }
    for (let frame = pipeline.send(nowMs); frame !== undefined; frame = pipeline.send(nowMs)) service.send(frame.json);
    for (let found = pipeline.take(); found !== undefined; found = pipeline.take()) outcomes.push(found);
    if (pipeline.isDone && waiting.length === 0) return outcomes;
    if (service.isAwaited) {
      const answer = service.answer();
      if (answer === undefined) pipeline.broke();
      else pipeline.answered(answer, nowMs);
    } else {
      const atMs = pipeline.wakeAtMs(nowMs);
      assert.ok(atMs !== undefined || pipeline.hasRoom || outcomes.length < given.length, "nothing is awaited");
      nowMs = atMs ?? nowMs;
    }
  }
  return assert.fail(`stuck with ${outcomes.length} of ${given.length} outcomes`);
}

function valueOf(given: RowLike): number | null {
  return (given as unknown as { item: { value: number | null } }).item.value;
}

function streamOf(given: RowLike): string {
  return (given as unknown as { stream: string }).stream;
}

/** Every row that was learned has the reply of its own item, and each stream learned its rows once, in order. */
function assertExact(service: FakeService, given: RowLike[], outcomes: Outcome[]): void {
  assert.equal(outcomes.length, given.length);
  const learned = new Map<string, number[]>();
  outcomes.forEach((outcome, i) => {
    const one = given[i];
    assert.ok(one !== undefined);
    if (outcome instanceof StepaheadError) return;
    assert.equal(outcome.stream, streamOf(one));
    assert.equal(real(outcome.prediction, "value")?.mean, valueOf(one));
    learned.set(outcome.stream, [...(learned.get(outcome.stream) ?? []), valueOf(one) ?? NaN]);
  });
  for (const [stream, values] of learned)
    assert.deepEqual(
      service.values(stream).filter((value) => value >= 0),
      values,
    );
}

describe("a pipeline", () => {
  for (const maxFrames of [Infinity, 1]) {
    it(`gives each row one outcome, in order, whatever is cut and refused (at most ${maxFrames} frames)`, () => {
      let nCuts = 0;
      for (let seed = 0; seed < SEEDS; seed++) {
        const random = seeded(seed);
        const service = new FakeService({ cut: 0.1, overloaded: 0.05, unavailable: 0.05 }, random);
        const given = rows(random, 300, 1 + (seed % 12), 0.05);
        const outcomes = run(service, given, { maxFrames, chunk: 1 + (seed % 20) });
        assertExact(service, given, outcomes);
        outcomes.forEach((outcome, i) => {
          const isInvalid = valueOf(given[i] ?? row("", 0)) === null;
          assert.equal(outcome instanceof StepaheadError ? outcome.code : null, isInvalid ? "invalid_item" : null);
        });
        nCuts += service.nCuts;
        assert.ok(service.nRefused > 0);
      }
      assert.ok(nCuts > SEEDS);
    });
  }

  it("learns each row once though what a cut connection had delivered is taken late", () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const service = new FakeService({ cut: 0.1, late: 0.7, overloaded: 0.1, unavailable: 0.05 }, seeded(seed));
      const given = rows(seeded(seed), 200, 1 + (seed % 5));
      const outcomes = run(service, given, { chunk: 1 + (seed % 6) });
      assertExact(service, given, outcomes);
      assert.ok(!outcomes.some((outcome) => outcome instanceof StepaheadError));
    }
  });

  it("has no more in flight than the server takes in, of all streams and of one", () => {
    const service = new FakeService({}, seeded(1), { items: 20, per_stream: 8 });
    const given = rows(seeded(2), 500, 3);
    assertExact(service, given, run(service, given));
    assert.deepEqual(service.most, { items: 20, perStream: 8 });
  });

  it("keeps in flight so few that a server with two replies per stream still has that of every resend", () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const service = new FakeService({ cut: 0.15, unavailable: 0.1 }, seeded(seed), { items: 30, per_stream: 2 });
      const given = rows(seeded(seed), 200, 3);
      const outcomes = run(service, given);
      assertExact(service, given, outcomes);
      assert.ok(!outcomes.some((outcome) => outcome instanceof StepaheadError));
    }
  });

  it("numbers on from where the server stands", () => {
    const service = new FakeService({}, seeded(1));
    run(service, [row("a", 1), row("a", 2)]);
    const outcomes = run(service, [row("a", 3), row("b", 4), row("a", 5)]);
    assert.deepEqual(
      outcomes.map((outcome) => (outcome as { sequence: number }).sequence),
      [3, 1, 4],
    );
  });

  it("learns each item once beside another writer, and gives up one that would come out of order", () => {
    let nTaken = 0;
    for (let seed = 0; seed < SEEDS; seed++) {
      const service = new FakeService({ other: 0.2, overloaded: 0.05 }, seeded(seed));
      const given = rows(seeded(seed), 100, 3);
      const outcomes = run(service, given);
      assertExact(service, given, outcomes);
      for (const outcome of outcomes)
        if (outcome instanceof StepaheadError) assert.ok(outcome instanceof SequenceTaken);
      nTaken += outcomes.filter((outcome) => outcome instanceof SequenceTaken).length;
    }
    assert.ok(nTaken < SEEDS * 3 * 3, `${nTaken} were taken: more than at the first meeting on each stream`);
  });

  it("sends items that the caller numbered as they are, and again", () => {
    const service = new FakeService({ cut: 0.1 }, seeded(3));
    const given = [row("a", 1, 1), row("a", 2, 2), row("a", 9, 9), row("a", 2, 2), row("a", 3)];
    const outcomes = run(service, given);
    assert.deepEqual(
      outcomes.map((one) => (one instanceof StepaheadError ? one.constructor : one.sequence)),
      [1, 2, SequenceGap, 2, 3],
    );
    assert.deepEqual(service.values("a"), [1, 2, 3]);
  });

  it("begins a stream anew that was deleted", () => {
    const service = new FakeService({}, seeded(1), { items: 2, per_stream: 2 });
    const random = (): number => 0;
    const pipeline = new Pipeline({ policy: PATIENT, errors: "yield", chunk: 2, maxFrames: 1, random });
    const sequences: number[] = [];
    for (let value = 0; value < 6; value++) {
      if (value === 3) service.learned.clear();
      pipeline.add(toObservation(row("a", value)));
      for (let found = pipeline.take(); found === undefined; found = pipeline.take()) {
        for (let frame = pipeline.send(0); frame !== undefined; frame = pipeline.send(0)) service.send(frame.json);
        pipeline.answered(service.answer(), 0);
        const outcome = pipeline.take();
        if (outcome === undefined) continue;
        sequences.push((outcome as { sequence: number }).sequence);
        break;
      }
    }
    assert.deepEqual(sequences, [1, 2, 3, 1, 2, 3]);
  });

  it("begins a stream anew that was deleted while rows of it were in doubt", () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const service = new FakeService({ cut: 0.2 }, seeded(seed));
      run(service, rows(seeded(seed), 10, 1));
      const pipeline = new Pipeline({ policy: PATIENT, errors: "yield", chunk: 3, maxFrames: 9, random: () => 0 });
      for (let value = 0; value < 12; value++) pipeline.add(toObservation(row("s-0", value)));
      const outcomes: Outcome[] = [];
      let isDeleted = false;
      for (let nowMs = 0; !pipeline.isDone; nowMs += 1) {
        for (let frame = pipeline.send(nowMs); frame !== undefined; frame = pipeline.send(nowMs))
          service.send(frame.json);
        const answer = service.answer();
        if (answer === undefined) {
          pipeline.broke();
          if (!isDeleted) service.learned.clear();
          isDeleted = true;
        } else pipeline.answered(answer, nowMs);
        for (let found = pipeline.take(); found !== undefined; found = pipeline.take()) outcomes.push(found);
      }
      assert.ok(!outcomes.some((outcome) => outcome instanceof StepaheadError));
      if (!isDeleted) continue;
      assert.deepEqual(
        service.values("s-0"),
        service.values("s-0").map((_, i) => 12 - service.values("s-0").length + i),
      );
    }
  });

  it("gives only the rows of a stream its error whose name cannot name one", () => {
    const service = new FakeService({}, seeded(1));
    const outcomes = run(service, [row("a", 1), row("x/y", 2), row("b", 3)]);
    assert.deepEqual(
      outcomes.map((one) => one.constructor),
      [Object, InvalidRequest, Object],
    );
  });

  it("refuses NaN and values that are none before anything is sent", () => {
    const service = new FakeService({}, seeded(1));
    const bad = [{ stream: "a", item: { value: NaN } }, ["a", { value: undefined }], null, { stream: "", item: {} }];
    const outcomes = run(service, [row("a", 1), ...(bad as RowLike[]), row("a", 2)]);
    assert.deepEqual(
      outcomes.map((one) => one instanceof InvalidItem),
      [false, true, true, true, true, false],
    );
    assert.deepEqual(service.values("a"), [1, 2]);
  });

  it("sends nothing behind the first refused row where that ends it", () => {
    const service = new FakeService({}, seeded(1));
    const pipeline = new Pipeline({ policy: PATIENT, errors: "raise", chunk: 1, maxFrames: 1, random: () => 0 });
    for (const value of [1, null, 3]) pipeline.add(toObservation(row("a", value)));
    for (let frame = pipeline.send(0); frame !== undefined; frame = pipeline.send(0)) {
      service.send(frame.json);
      pipeline.answered(service.answer(), 0);
    }
    assert.deepEqual(service.values("a"), [1]);
    assert.ok(!pipeline.hasRoom);
  });

  it("waits as long as the server asks before it sends the items of a stream again", () => {
    const pipeline = new Pipeline({ policy: DEFAULT_POLICY, errors: "yield", chunk: 8, maxFrames: 9, random: () => 0 });
    pipeline.add(toObservation(row("a", 1)));
    pipeline.send(0);
    pipeline.answered({ sequences: { a: 0 }, window: { items: 8, per_stream: 8 } }, 0);
    pipeline.send(0);
    pipeline.answered({ error: { code: "overloaded", message: "", request_id: "", retry_after_s: 3 } }, 1000);
    assert.equal(pipeline.send(3999), undefined);
    assert.equal(pipeline.wakeAtMs(1000), 4000);
    assert.match(pipeline.send(4000)?.json ?? "", /"sequence":1/);
  });

  it("asks each connection anew what it takes in, before what was in flight is sent again", () => {
    const pipeline = new Pipeline({ policy: PATIENT, errors: "yield", chunk: 4, maxFrames: 9, random: () => 0 });
    pipeline.add(toObservation(row("a", 1)));
    const told = { sequences: { a: 0 }, window: { items: 4, per_stream: 4 } };
    const kinds = [];
    for (let connection = 0; connection < 2; connection++) {
      for (let frame = pipeline.send(0); frame !== undefined; frame = pipeline.send(0)) {
        kinds.push(frame.kind);
        if (frame.kind === "sequences") pipeline.answered(told, 0);
      }
      pipeline.broke();
    }
    assert.deepEqual(kinds, ["sequences", "observations", "sequences", "observations"]);
  });

  it("ends with the error of a frame that no waiting helps", () => {
    const pipeline = new Pipeline({ policy: PATIENT, errors: "yield", chunk: 8, maxFrames: 9, random: () => 0 });
    pipeline.add(toObservation(row("a", 1)));
    pipeline.send(0);
    const answer = { error: { code: "unknown_model", message: "no model", request_id: "r" } };
    assert.throws(() => pipeline.answered(answer, 0), UnknownModel);
  });
});
