/** What params hold, which anybody may have written: any value where any other was meant. */
export type Params = Record<string, unknown>;

export function record(value: unknown): Params {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Params) : {};
}

export function records(value: unknown): Params[] {
  return Array.isArray(value) ? value.map(record) : [];
}

/** As many as there are, so that places stay: what is no text is an empty one. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.map((item) => (typeof item === "string" ? item : "")) : [];
}

export function nth(list: unknown, index: number): unknown {
  return Array.isArray(list) ? (list as unknown[])[index] : undefined;
}

/** What an orchestration's tasks share, under its name or the older one. */
export function detailsOf(params: Params): Params {
  const details = params["orchestrator_details"] ?? params["full_orchestrator_payload"];
  return record(details);
}
