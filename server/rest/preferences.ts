import { RestError } from "./rest-error.ts";

/** What a client asks for by headers. */
export interface Preferences {
  returning: "minimal" | "representation";
  counted: boolean;
  resolution: "merge" | "ignore" | undefined;
  missingAsDefault: boolean;
  /** More rows than these are a mistake, and nothing is written. */
  maxAffected: number | undefined;
  /** For `Preference-Applied`. */
  applied: string[];
}

export function parsePreferences(header: string | null): Preferences {
  const wanted = new Map<string, string>();
  for (const part of (header ?? "").split(",")) {
    const [name = "", value = ""] = part.split("=").map((side) => side.trim());
    // The first of a name counts.
    if (name !== "" && !wanted.has(name)) wanted.set(name, value);
  }
  const applied: string[] = [];
  function choose(name: string, known: string[]): string | undefined {
    const value = wanted.get(name);
    if (value === undefined || !known.includes(value)) return undefined;
    applied.push(`${name}=${value}`);
    return value;
  }
  const returning = choose("return", ["representation", "minimal", "headers-only"]);
  // Estimates are not made here; the exact number is the better answer to the same question.
  const count = choose("count", ["exact", "planned", "estimated"]);
  const resolution = choose("resolution", ["merge-duplicates", "ignore-duplicates"]);
  const missing = choose("missing", ["default", "null"]);
  const strict = choose("handling", ["strict", "lenient"]) === "strict";
  const limit = wanted.get("max-affected");
  const maxAffected = strict && limit !== undefined && /^\d{1,9}$/.test(limit) ? Number(limit) : undefined;
  if (maxAffected !== undefined) applied.push(`max-affected=${maxAffected}`);
  return {
    returning: returning === "representation" ? "representation" : "minimal",
    counted: count !== undefined,
    resolution:
      resolution === "merge-duplicates" ? "merge" : resolution === "ignore-duplicates" ? "ignore" : undefined,
    missingAsDefault: missing === "default",
    maxAffected,
    applied,
  };
}

export interface MediaType {
  name: "application/json" | "application/vnd.pgrst.object+json" | "application/vnd.pgrst.array+json";
  single: boolean;
  stripNulls: boolean;
}

/** The first media type of `Accept` that is served. */
export function parseAccept(header: string | null): MediaType {
  const accepted = header === null || header.trim() === "" ? "*/*" : header;
  for (const part of accepted.split(",")) {
    const [name = "", ...parameters] = part.split(";").map((side) => side.trim().toLowerCase());
    const stripNulls = parameters.includes("nulls=stripped");
    switch (name) {
      case "*/*":
      case "application/*":
      case "application/json":
        return { name: "application/json", single: false, stripNulls: false };
      case "application/vnd.pgrst.array+json":
        return { name, single: false, stripNulls };
      case "application/vnd.pgrst.object+json":
      case "application/vnd.pgrst.object":
        return { name: "application/vnd.pgrst.object+json", single: true, stripNulls };
      default:
    }
  }
  throw new RestError(406, "PGRST107", `None of these media types are available: ${accepted.slice(0, 200)}`);
}

/** Clients name the schema in every request; there is one. */
export function requirePublicSchema(headers: Headers): void {
  for (const name of ["accept-profile", "content-profile"]) {
    const schema = headers.get(name);
    if (schema !== null && schema !== "public") {
      throw new RestError(406, "PGRST106", "The schema must be one of the following: public");
    }
  }
}

/** The rows that `Range: 10-19` asks for. */
export function parseRange(header: string | null): { offset: number; limit: number | undefined } | undefined {
  const match = /^(?:items=)?(\d{1,15})-(\d{0,15})$/.exec(header?.trim() ?? "");
  if (!match) return undefined;
  const first = Number(match[1]);
  if (match[2] === "") return { offset: first, limit: undefined };
  const last = Number(match[2]);
  if (last < first) throw new RestError(416, "PGRST103", "Requested range not satisfiable");
  return { offset: first, limit: last - first + 1 };
}

/** `0-9/200`; a star for what is not there, or was not counted. */
export function contentRange(offset: number, rows: number, total: number | undefined): string {
  const range = rows === 0 || total === 0 ? "*" : `${offset}-${offset + rows - 1}`;
  return `${range}/${total ?? "*"}`;
}
