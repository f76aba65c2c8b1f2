/**
 * What a failure at FAL means. `passing`: the same may go well later. `callers`: it never will, for what was asked for.
 * `ours`: the key, the account or the model's name, which no caller can mend. `gone`: FAL knows no such job (any more).
 */
export type FalFaultKind = "passing" | "callers" | "ours" | "gone";

export interface FalFault {
  kind: FalFaultKind;
  /** For people: what FAL says of it, without addresses, inputs and secrets. */
  message: string;
}

const longestMessage = 1000;
const mostIssues = 8;

/**
 * Reads an HTTP status of FAL's, or of a model there, with its JSON body: `{detail: [{loc, msg, type}]}` of a model,
 * `{detail, error_type}` of the queue. `retryable` is the header `x-fal-retryable`, where there is one.
 */
export function faultOf(status: number, body: unknown, retryable?: string | null): FalFault {
  const kind = kindOf(status, retryable);
  const said = saidIn(body);
  const beginning = {
    passing: `FAL failed (${status})`,
    callers: `FAL refuses what was asked for (${status})`,
    ours: `FAL refuses this installation (${status})`,
    gone: "FAL knows no such job",
  }[kind];
  return { kind, message: (said ? `${beginning}: ${said}` : beginning).slice(0, longestMessage) };
}

function kindOf(status: number, retryable: string | null | undefined): FalFaultKind {
  if (status === 401 || status === 402 || status === 403) return "ours";
  if (status === 404 || status === 410) return "gone";
  // 499: the job was cancelled, by somebody at FAL's dashboard say.
  if (status === 408 || status === 425 || status === 429 || status === 499) return "passing";
  if (status >= 400 && status < 500) return retryable === "true" ? "passing" : "callers";
  return retryable === "false" ? "callers" : "passing";
}

function saidIn(body: unknown): string {
  const { detail, error_type: type } = fieldsOf(body);
  if (Array.isArray(detail)) {
    return detail
      .slice(0, mostIssues)
      .map((issue: unknown) => {
        const { loc, msg, type: code } = fieldsOf(issue);
        const field = Array.isArray(loc) ? loc.filter((part) => part !== "body").join(".") : "";
        const said = [harmless(msg), typeof code === "string" ? `(${harmless(code)})` : ""].join(" ").trim();
        return field ? `${harmless(field)}: ${said}` : said;
      })
      .filter(Boolean)
      .join("; ");
  }
  return [harmless(detail), typeof type === "string" ? `(${harmless(type)})` : ""].join(" ").trim();
}

/** Text of a stranger's, on one line, without addresses (which may carry credentials) and what looks like a key. */
export function harmless(text: unknown, longest = 200): string {
  if (typeof text !== "string") return "";
  return text
    .slice(0, 4000)
    .replace(/[\p{C}\s]+/gu, " ")
    .replace(/\b(?:[a-z][a-z0-9+.-]*:\/\/|data:)\S*/gi, "…")
    .replace(/\b(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}(?::[A-Za-z0-9_-]+)?\b/g, "…")
    .trim()
    .slice(0, longest);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
