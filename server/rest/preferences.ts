import { RestError } from "./rest-error.ts";

/** What a client asks for by `Prefer`. */
export interface Preferences {
  returning: "minimal" | "representation" | "headers-only";
  counted: "exact" | "planned" | "estimated" | undefined;
  resolution: "merge" | "ignore" | undefined;
  missingAsDefault: boolean;
  /** More rows than these are a mistake, and nothing is written. */
  maxAffected: number | undefined;
  timeZone: string | undefined;
  /** For `Preference-Applied`, by name. */
  applied: Map<string, string>;
}

/** Those that mean something to reads and to functions; the rest is about how rows are written. */
export const readPreferences = new Set(["count", "handling", "timezone", "max-affected"]);

const known: Record<string, string[]> = {
  resolution: ["merge-duplicates", "ignore-duplicates"],
  missing: ["default", "null"],
  return: ["representation", "headers-only", "minimal"],
  count: ["exact", "planned", "estimated"],
  handling: ["strict", "lenient"],
  // Known, and of no effect: every request commits, as PostgREST does by default.
  tx: ["commit", "rollback"],
};

export function parsePreferences(header: string | null): Preferences {
  const chosen = new Map<string, string>();
  const unknown: string[] = [];
  for (const part of (header ?? "").split(",").map((one) => one.trim())) {
    if (part === "") continue;
    const [name = "", value = ""] = part.split("=").map((side) => side.trim());
    // The first of a name counts.
    if (!isKnown(name, value)) unknown.push(part);
    else if (!chosen.has(name)) chosen.set(name, value);
  }
  const strict = chosen.get("handling") === "strict";
  if (strict && unknown.length > 0) {
    throw new RestError(400, "PGRST122", "Invalid preferences given with handling=strict", {
      details: `Invalid preferences: ${unknown.join(", ").slice(0, 500)}`,
    });
  }
  chosen.delete("tx");
  // Without it, a client that speaks of the most may not know what happens beyond.
  if (!strict) chosen.delete("max-affected");
  const resolution = chosen.get("resolution");
  const maxAffected = chosen.get("max-affected");
  return {
    returning: returningOf(chosen.get("return")),
    counted: countedOf(chosen.get("count")),
    resolution:
      resolution === "merge-duplicates" ? "merge" : resolution === "ignore-duplicates" ? "ignore" : undefined,
    missingAsDefault: chosen.get("missing") === "default",
    maxAffected: maxAffected === undefined ? undefined : Number(maxAffected),
    timeZone: chosen.get("timezone"),
    applied: chosen,
  };
}

function isKnown(name: string, value: string): boolean {
  if (name === "max-affected") return /^\d{1,9}$/.test(value);
  if (name === "timezone") return isTimeZone(value);
  return Object.hasOwn(known, name) && known[name]?.includes(value) === true;
}

function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][\w+/-]{0,63}$/.test(name)) return false;
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function returningOf(value: string | undefined): Preferences["returning"] {
  return value === "representation" || value === "headers-only" ? value : "minimal";
}

function countedOf(value: string | undefined): Preferences["counted"] {
  return value === "exact" || value === "planned" || value === "estimated" ? value : undefined;
}

export interface MediaType {
  name:
    | "application/json"
    | "application/vnd.pgrst.object+json"
    | "application/vnd.pgrst.array+json"
    | "text/csv";
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
      case "application/vnd.pgrst.array":
      case "application/vnd.pgrst.array+json":
        return { name: "application/vnd.pgrst.array+json", single: false, stripNulls };
      case "application/vnd.pgrst.object+json":
      case "application/vnd.pgrst.object":
        return { name: "application/vnd.pgrst.object+json", single: true, stripNulls };
      case "text/csv":
        return { name, single: false, stripNulls: false };
      default:
    }
  }
  throw new RestError(406, "PGRST107", `None of these media types are available: ${accepted.slice(0, 200)}`);
}

/** Clients name the schema in every request; there is one. Reads name it by one header, writes by the other. */
export function requirePublicSchema(method: string, headers: Headers): void {
  const isRead = method === "GET" || method === "HEAD";
  const schema = headers.get(isRead ? "accept-profile" : "content-profile");
  if (schema !== null && schema !== "public") {
    throw new RestError(406, "PGRST106", "The schema must be one of the following: public");
  }
}

export interface RowRange {
  offset: number;
  limit: number | undefined;
}

/** The rows that `Range: 10-19` asks for. */
export function parseRange(header: string | null): RowRange | undefined {
  const match = /^(?:items=)?(\d{1,15})-(\d{0,15})$/.exec(header?.trim() ?? "");
  if (!match) return undefined;
  const first = Number(match[1]);
  if (match[2] === "") return { offset: first, limit: undefined };
  const last = Number(match[2]);
  if (last < first) {
    throw unsatisfiable(
      "The lower boundary must be lower than or equal to the upper boundary in the Range header.",
    );
  }
  return { offset: first, limit: last - first + 1 };
}

/** The rows that are wanted both by parameters and by header, and no more than are given at once. */
export function pageOf(
  parameters: RowRange,
  header: RowRange | undefined,
  maxRows: number,
): { offset: number; limit: number } {
  const offset = Math.max(parameters.offset, header?.offset ?? 0);
  const end = Math.min(endOf(parameters), header ? endOf(header) : Infinity);
  if (header && end <= offset && parameters.limit !== 0)
    throw unsatisfiable("Limit should be greater than or equal to zero.");
  return { offset, limit: Math.min(maxRows, Math.max(0, end - offset)) };
}

function endOf({ offset, limit }: RowRange): number {
  return limit === undefined ? Infinity : offset + limit;
}

export function unsatisfiable(details: string): RestError {
  return new RestError(416, "PGRST103", "Requested range not satisfiable", { details });
}

/** `0-9/200`; a star for what is not there, or was not counted. */
export function contentRange(offset: number, rows: number, total: number | undefined): string {
  const range = rows === 0 || total === 0 ? "*" : `${offset}-${offset + rows - 1}`;
  return `${range}/${total ?? "*"}`;
}
