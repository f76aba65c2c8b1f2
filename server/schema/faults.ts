import { type Ask, type Catalog, readCatalog, type Thing } from "./catalog.ts";
import { type ManifestThings, readManifest } from "./manifest.ts";

/** Something that a database lacks, in the words of `doctor`. */
export interface SchemaFault {
  room: "database";
  rule: string;
  user_id: null;
  row_id: string;
  details: Record<string, unknown>;
}

/** What is missing of the platform's SQL, which can be applied again. `ask` runs in a transaction. */
export async function findPlatformFaults(ask: Ask): Promise<SchemaFault[]> {
  const { platform } = await readManifest();
  return missing(platform, await readCatalog(ask));
}

/** For people: the first few, and how many there are. */
export function describeFaults(faults: readonly SchemaFault[]): string {
  const shown = faults.slice(0, 3).map(({ rule, row_id }) => `${rule.replaceAll("_", " ")}: ${row_id}`);
  const unlisted = faults.length - shown.length;
  return `${shown.join("; ")}${unlisted > 0 ? `; and ${unlisted} more` : ""}`;
}

/** Things of the manifest that a database does not have, or has otherwise. What it has beyond them does not matter. */
export function missing(expected: ManifestThings, catalog: Catalog): SchemaFault[] {
  const faults = Object.entries(expected).flatMap(([thing, [state]]) => {
    const [, kind = "", name = ""] = /^(grant|owned sequence|\w+) (.*)$/.exec(thing) ?? [];
    const found = catalog.get(thing);
    if (!found) {
      const row = kind === "grant" ? "grant_missing" : `${kind.replaceAll(" ", "_")}_missing`;
      return [fault(row, name, kind === "grant" ? { privileges: state } : {})];
    }
    const rule = difference(kind, state, found);
    return rule ? [fault(rule, name, { expected: state, found: found.state })] : [];
  });
  return faults.toSorted((one, other) => gravity(one) - gravity(other));
}

/** The first few are what people read: what protects rows before what serves them. */
function gravity({ rule }: SchemaFault): number {
  const order = ["row_level_security_off", "policy_", "trigger_", "function_", "table_"];
  const position = order.findIndex((prefix) => rule.startsWith(prefix));
  return position === -1 ? order.length : position;
}

/** The rule that a thing breaks by being otherwise than expected; operators may change what is not named here. */
function difference(kind: string, expected: string, { state }: Thing): string | undefined {
  if (expected === state) return undefined;
  switch (kind) {
    case "table":
      return isProtected(expected) && !isProtected(state) ? "row_level_security_off" : undefined;
    case "grant":
      return privileges(expected).every((privilege) => privileges(state).includes(privilege))
        ? undefined
        : "grant_missing";
    case "type":
      return expected.split(", ").every((label) => state.split(", ").includes(label))
        ? undefined
        : "type_differs";
    case "function":
      // Rights that were named, even if everybody has them, are an operator's; a function without is open by default.
      return expected === state + openFunction ? undefined : "function_differs";
    case "policy":
    case "trigger":
    case "view":
      return `${kind}_differs`;
    case "index":
      return state === "" ? undefined : "index_invalid";
    default:
      return undefined;
  }
}

const openFunction = ", executable by public";

function isProtected(tableState: string): boolean {
  return tableState.includes("row level security t");
}

function privileges(state: string): string[] {
  return state.split(", ").map((privilege) => privilege.replace(" with grant option", ""));
}

export function fault(rule: string, row: string, details: Record<string, unknown>): SchemaFault {
  return { room: "database", rule, user_id: null, row_id: row, details };
}
