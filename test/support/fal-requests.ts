import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { projectPath } from "../../server/migrate.ts";
import type { FakeFal } from "./fake-fal.ts";

/** A request to FAL as `test/fixtures/fal` keeps it: addresses are names, seeds that are drawn are `<seed>`. */
export interface KeptRequest {
  task_type: string;
  step: number;
  model: string;
  input: unknown;
}

export interface KeptCase {
  title: string;
  requests: KeptRequest[];
}

export const fixtureFolder = "test/fixtures/fal";

/** With this variable set, fixtures are written and not compared. */
const isWriting = process.env["DARKROOM_WRITE_FIXTURES"] === "1";

/** Holds the requests of a case against the fixture, or writes them there. */
export function assertRequests(name: string, title: string, requests: readonly KeptRequest[]): void {
  const file = projectPath(`${fixtureFolder}/${name}.json`);
  const kept = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as KeptCase[]) : [];
  const sorted = [...requests].sort((one, other) => (sortKey(one) < sortKey(other) ? -1 : 1));
  if (!isWriting) {
    const expected = kept.find((one) => one.title === title)?.requests;
    assert.deepEqual(sorted, expected, `${name}, ${title}: docs say how fixtures are written anew`);
    return;
  }
  const cases = [...kept.filter((one) => one.title !== title), { title, requests: sorted }];
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(cases, null, 2)}\n`);
}

function sortKey(request: KeptRequest): string {
  const step = String(request.step).padStart(2, "0");
  return JSON.stringify([request.task_type, step, request.model, request.input]);
}

export interface Naming {
  fal: FakeFal;
  /** Names of files that the test has uploaded, by their bytes in base64. */
  files: ReadonlyMap<string, string>;
  /** Of the case: what is sent, and what the server makes of it. Numbers in it are not drawn. */
  sent: unknown;
}

/** An input with names for addresses that are new each time. */
export function named(input: unknown, naming: Naming, field = ""): unknown {
  if (Array.isArray(input)) return input.map((item: unknown) => named(item, naming, field));
  if (typeof input === "object" && input !== null) {
    return Object.fromEntries(
      Object.entries(input).map(([name, value]) => [name, named(value, naming, name)]),
    );
  }
  if (typeof input === "string") return nameOf(input, naming);
  if (field === "seed" && typeof input === "number" && !isSent(input, naming.sent)) return "<seed>";
  return input;
}

function nameOf(text: string, { fal, files }: Naming): string {
  const bytes = fal.contentAt(text);
  if (!bytes) return text;
  const name = files.get(Buffer.from(bytes).toString("base64"));
  if (name !== undefined) return `<${name}>`;
  const maker = fal.maker(bytes);
  return maker ? `<made by ${maker.model}>` : "<another file>";
}

/** Whether a seed comes from the request: itself, or a few after it. */
function isSent(seed: number, sent: unknown): boolean {
  const numbers = JSON.stringify(sent).match(/(?<=[:[])\d+(?=[,}\]])/g) ?? [];
  return numbers.some((text) => seed - Number(text) >= 0 && seed - Number(text) < 10 && Number(text) > 0);
}
