import { type Catalog } from "../schema/catalog.ts";
import { entryOf, type Manifest } from "../schema/manifest.ts";

export interface Additions {
  /** Make what the database has beyond the migrations, or otherwise than they make it. */
  statements: string[];
  /** Roles that the statements grant something to. */
  roles: string[];
  /** What no statement makes, each with the reason. */
  impossible: string[];
  /** What the migrations make and the database does not have: a restore brings it back. */
  missing: string[];
}

/**
 * What an operator changed and added, in the order in which it can be made. A PostgreSQL that words a text in another way
 * than the one that wrote the manifest only has the thing made twice.
 */
export function findAdditions(catalog: Catalog, manifest: Manifest): Additions {
  const expected = { ...manifest.platform, ...manifest.migrations };
  const found: Additions = { statements: [], roles: [], impossible: [], missing: [] };
  const roles = new Set<string>();
  for (const [name, thing] of catalog) {
    const known = expected[name];
    const [state, digest] = entryOf(thing);
    if (known?.[0] === state && known[1] === digest) continue;
    if (name.startsWith("column ") && known && typeOf(known[0]) !== typeOf(state)) {
      found.impossible.push(`${name}: its type is ${typeOf(state)} instead of ${typeOf(known[0])}`);
    }
    if (thing.make === undefined) continue;
    found.statements.push(thing.make);
    const grantee = /^grant .* to (.+)$/.exec(name)?.[1];
    if (grantee !== undefined && !ownRoles.has(grantee)) roles.add(grantee);
    for (const role of policyRoles(name, state)) if (!ownRoles.has(role)) roles.add(role);
  }
  found.roles = [...roles].toSorted();
  found.missing = Object.keys(expected).filter((name) => !catalog.has(name));
  return found;
}

const ownRoles = new Set(["public", "anon", "authenticated", "service_role", "authenticator"]);

function policyRoles(name: string, state: string): string[] {
  if (!name.startsWith("policy ")) return [];
  return /\{(.*)\}$/.exec(state)?.[1]?.split(",") ?? [];
}

function typeOf(columnState: string): string {
  return columnState.replace(" not null", "");
}
