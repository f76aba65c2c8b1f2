/** What a URL asks for, as read from it: names are as the client wrote them, not yet known to exist. */

/** One arrow of `data->a->>b`. */
export interface JsonStep {
  asText: boolean;
  key: string | number;
}

/** A column, or a place inside its JSON. */
export interface Field {
  name: string;
  path: JsonStep[];
}

export type SelectItem =
  | { kind: "all" }
  | { kind: "field"; field: Field; alias: string | undefined; cast: string | undefined }
  | Embed;

/** `author:authors!author_id!inner(name)`: rows of another table that belong to the row. */
export interface Embed {
  kind: "embed";
  /** A table, or what leads to one: a foreign key or its column. */
  name: string;
  alias: string | undefined;
  /** Which of several relationships is meant. */
  hint: string | undefined;
  /** Rows without a related one are left out. */
  inner: boolean;
  /** `...authors(name)`: its columns become columns of the row. */
  spread: boolean;
  resource: Resource;
}

/** What is asked of one table: the one in the path, or an embedded one. */
export interface Resource {
  select: SelectItem[];
  where: Condition[];
  order: OrderTerm[];
  limit: number | undefined;
  offset: number;
}

export interface Query extends Resource {
  /** `columns=`: which keys of the body count. */
  columns: string[] | undefined;
  onConflict: string[] | undefined;
}

export interface OrderTerm {
  /** `author(name)`: by a column of an embedded row. */
  embed: string | undefined;
  field: Field;
  descending: boolean;
  nulls: "first" | "last" | undefined;
}

/** Operators that compare a field with one value of its own type, as SQL spells them. */
export const comparisons = {
  eq: "=",
  neq: "<>",
  gt: ">",
  gte: ">=",
  lt: "<",
  lte: "<=",
  isdistinct: "is distinct from",
  cs: "@>",
  cd: "<@",
  ov: "&&",
  sl: "<<",
  sr: ">>",
  nxr: "&<",
  nxl: "&>",
  adj: "-|-",
} as const;

/** Operators whose right side is a pattern, whatever the field's type. */
export const patterns = { like: "like", ilike: "ilike", match: "~", imatch: "~*" } as const;

/** How the words of a text search are read. */
export const searches = {
  fts: "to_tsquery",
  plfts: "plainto_tsquery",
  phfts: "phraseto_tsquery",
  wfts: "websearch_to_tsquery",
} as const;

export type Comparison = keyof typeof comparisons;
export type Pattern = keyof typeof patterns;
export type Search = keyof typeof searches;
export type Quantifier = "any" | "all";
export type IsValue = "null" | "not null" | "true" | "false" | "unknown";

export type Condition =
  | { kind: "compare"; negated: boolean; field: Field; operator: Comparison; value: string }
  | { kind: "pattern"; negated: boolean; field: Field; operator: Pattern; value: string }
  | {
      kind: "quantified";
      negated: boolean;
      field: Field;
      operator: Comparison | Pattern;
      quantifier: Quantifier;
      /** An array as PostgreSQL writes it: `{a,"b c"}`. */
      array: string;
    }
  | {
      kind: "search";
      negated: boolean;
      field: Field;
      operator: Search;
      language: string | undefined;
      value: string;
    }
  | { kind: "in"; negated: boolean; field: Field; values: string[] }
  | { kind: "is"; negated: boolean; field: Field; value: IsValue }
  | { kind: "group"; negated: boolean; operator: "and" | "or"; conditions: Condition[] };

/** The name by which filters and orders speak of an embedded table, and under which its rows come. */
export function nameOf({ alias, name }: Embed): string {
  return alias ?? name;
}
