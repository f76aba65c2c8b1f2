/** One thing that is wrong with a request, and where. */
export interface Issue {
  path: string;
  message: string;
}

const mostIssues = 20;

/**
 * Values of a body that neither PostgreSQL nor UTF-8 can hold: text with NUL or with half of a surrogate pair, and
 * numbers that JSON can write but no double can hold, which would be stored as null.
 */
export function unstorableValues(value: unknown): Issue[] {
  const issues: Issue[] = [];
  collect(value, [], issues);
  return issues;
}

function collect(value: unknown, path: readonly string[], issues: Issue[]): void {
  if (issues.length >= mostIssues) return;
  const add = (message: string): void => void issues.push({ path: path.join("."), message });
  if (typeof value === "string") {
    const fault = textFault(value);
    if (fault !== undefined) add(fault);
  } else if (typeof value === "number") {
    if (!Number.isFinite(value)) add("is a number out of range");
  } else if (value instanceof File) {
    const fault = textFault(value.name);
    if (fault !== undefined) add(`has a file name that ${fault}`);
  } else if (typeof value === "object" && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      const fault = Array.isArray(value) ? undefined : textFault(key);
      // The name itself cannot be shown.
      if (fault !== undefined) add(`has a field whose name ${fault}`);
      else collect(inner, [...path, key], issues);
      if (issues.length >= mostIssues) return;
    }
  }
}

/** What is wrong with a text, as the end of a sentence; undefined when it can be stored. */
export function textFault(text: string): string | undefined {
  if (text.includes("\0")) return "contains the character NUL (U+0000), which cannot be stored";
  if (!text.isWellFormed()) {
    return "contains half of a surrogate pair, such as a cut emoji, which is not valid Unicode";
  }
  return undefined;
}
