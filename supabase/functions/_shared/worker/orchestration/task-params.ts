/** A task's params. Clients write them, so each value may have any type. */
export type Params = Record<string, unknown>;

export function record(value: unknown): Params {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Params) : {};
}

export function records(value: unknown): Params[] {
  return Array.isArray(value) ? value.map(record) : [];
}

/** The texts of a list. An item of another type becomes an empty text, so that each text keeps its index. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.map((item) => (typeof item === "string" ? item : "")) : [];
}

export function nth(list: unknown, index: number): unknown {
  return Array.isArray(list) ? (list as unknown[])[index] : undefined;
}

/** A text that is not blank. */
export function text(value: unknown): string | undefined {
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

/** A number, or a text that is one. */
export function number(value: unknown): number | undefined {
  const read = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  return typeof read === "number" && Number.isFinite(read) ? read : undefined;
}

/** A number that is not negative, rounded down. */
export function count(value: unknown): number | undefined {
  const read = number(value);
  return read === undefined || read < 0 ? undefined : Math.floor(read);
}

const fastestRate = 60;

/** Frames per second, from 1 to 60; undefined for zero and less. */
export function frameRate(value: unknown): number | undefined {
  const read = number(value);
  return read === undefined || read <= 0 ? undefined : Math.min(fastestRate, Math.max(1, read));
}

/** The params that all tasks of an orchestration share, under their name or under the older one. */
export function detailsOf(params: Params): Params {
  return record(params["orchestrator_details"] ?? params["full_orchestrator_payload"]);
}
