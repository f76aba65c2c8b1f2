import type { Relation } from "./catalog.ts";
import { RestError, UnknownNameError } from "./rest-error.ts";

export interface ForeignKey {
  constraint: string;
  origin: string;
  target: string;
  columns: ColumnPair[];
  /** At most one row of the origin has the same values. */
  isUnique: boolean;
}

export interface ColumnPair {
  own: string;
  other: string;
}

/** How rows of one table belong to rows of another, seen from the origin. */
export interface Relationship {
  origin: string;
  target: string;
  cardinality: "many-to-one" | "one-to-many" | "one-to-one" | "many-to-many";
  /** Of a many-to-many, the junction's key to the origin. */
  constraint: string;
  /** Own columns of the origin with those of the target, or of the junction. */
  columns: ColumnPair[];
  junction?: Junction;
}

/** The table between, with its keys to both sides. */
export interface Junction {
  table: string;
  /** Its key to the target. */
  constraint: string;
  /** Columns of the target with those of the junction. */
  columns: ColumnPair[];
}

export function isToOne({ cardinality }: Relationship): boolean {
  return cardinality === "many-to-one" || cardinality === "one-to-one";
}

/**
 * Every foreign key, from both its ends; and a many-to-many wherever a table's primary key contains
 * two of them: then it has at most one row for each pair.
 */
export function relationshipsOf(
  keys: ForeignKey[],
  relations: Map<string, Pick<Relation, "primaryKey">>,
): Map<string, Relationship[]> {
  const byOrigin = new Map<string, Relationship[]>();
  function add(relationship: Relationship): void {
    const known = byOrigin.get(relationship.origin);
    if (known) known.push(relationship);
    else byOrigin.set(relationship.origin, [relationship]);
  }
  for (const { constraint, origin, target, columns, isUnique } of keys) {
    add({ origin, target, cardinality: isUnique ? "one-to-one" : "many-to-one", constraint, columns });
  }
  for (const { constraint, origin, target, columns, isUnique } of keys) {
    const cardinality = isUnique ? "one-to-one" : "one-to-many";
    add({ origin: target, target: origin, cardinality, constraint, columns: columns.map(reversed) });
  }
  for (const first of keys) {
    const primaryKey = new Set(relations.get(first.origin)?.primaryKey);
    for (const second of keys) {
      const isPair = first.origin === second.origin && first.constraint !== second.constraint;
      const parts = [...first.columns, ...second.columns];
      if (!isPair || !parts.every(({ own }) => primaryKey.has(own))) continue;
      add({
        origin: first.target,
        target: second.target,
        cardinality: "many-to-many",
        constraint: first.constraint,
        columns: first.columns.map(reversed),
        junction: {
          table: first.origin,
          constraint: second.constraint,
          columns: second.columns.map(reversed),
        },
      });
    }
  }
  return byOrigin;
}

function reversed({ own, other }: ColumnPair): ColumnPair {
  return { own: other, other: own };
}

/**
 * The one relationship that `origin?select=target!hint(…)` can mean. A target is a table, a foreign key or the only
 * column of one; a hint is a foreign key, a column at either end, or the table between.
 */
export function findRelationship(
  relationships: Map<string, Relationship[]>,
  origin: string,
  target: string,
  hint: string | undefined,
): Relationship {
  const found = (relationships.get(origin) ?? []).filter((one) => isMeant(one, target, hint));
  const [first, second] = found;
  if (!first) throw noRelationship(origin, target, hint);
  if (second) throw ambiguousRelationship(origin, target, found);
  return first;
}

function isMeant(relationship: Relationship, target: string, hint: string | undefined): boolean {
  const { cardinality, constraint, columns, junction } = relationship;
  const isByKey = junction === undefined;
  const [pair] = isByKey && columns.length === 1 ? columns : [];
  if (relationship.origin === relationship.target) {
    // One key is two relationships here: the table's name means the many, the column's the one.
    if (hint === undefined) {
      return (
        (target === relationship.target && cardinality === "one-to-many") ||
        (pair?.own === target && cardinality === "many-to-one")
      );
    }
    return target === relationship.target && cardinality === "one-to-many" && pair?.other === hint;
  }
  if (hint === undefined) {
    return target === relationship.target || (isByKey && target === constraint) || pair?.own === target;
  }
  return (
    target === relationship.target &&
    ((isByKey && hint === constraint) ||
      pair?.own === hint ||
      pair?.other === hint ||
      junction?.table === hint)
  );
}

function noRelationship(origin: string, target: string, hint: string | undefined): RestError {
  const using = hint === undefined ? "" : ` using the hint '${hint}'`;
  return new UnknownNameError(
    400,
    "PGRST200",
    `Could not find a relationship between '${origin}' and '${target}' in the schema cache`,
    {
      details:
        `Searched for a foreign key relationship between '${origin}' and '${target}'${using} ` +
        "in the schema 'public', but no matches were found.",
    },
  );
}

function ambiguousRelationship(origin: string, target: string, found: Relationship[]): RestError {
  const hints = found.map((one) => `'${one.target}!${one.junction?.table ?? one.constraint}'`);
  return new RestError(
    300,
    "PGRST201",
    `Could not embed because more than one relationship was found for '${origin}' and '${target}'`,
    {
      details: found.map((one) => ({
        cardinality: one.cardinality,
        embedding: `${one.origin} with ${one.target}`,
        relationship: described(one),
      })),
      hint:
        `Try changing '${target}' to one of the following: ${hints.join(", ")}. ` +
        "Find the desired relationship in the 'details' key.",
    },
  );
}

function described({ origin, target, constraint, columns, junction }: Relationship): string {
  const list = (names: string[]) => `(${names.join(", ")})`;
  const others = list(columns.map(({ other }) => other));
  if (junction) {
    const second = `${junction.constraint}${list(junction.columns.map(({ other }) => other))}`;
    return `${junction.table} using ${constraint}${others} and ${second}`;
  }
  return `${constraint} using ${origin}${list(columns.map(({ own }) => own))} and ${target}${others}`;
}
