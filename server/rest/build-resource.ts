import type { Catalog, Relation } from "./catalog.ts";
import { expression, isNullTest, type Source, whereClause } from "./conditions.ts";
import { embedNamed, leavesOf } from "./parse-query.ts";
import { type Embed, type Field, nameOf, type OrderTerm, type Resource, type SelectItem } from "./query.ts";
import { findRelationship, isToOne, type Relationship } from "./relationships.ts";
import { RestError, unknownTable, unknownType } from "./rest-error.ts";
import { Parameters, quoteIdentifier, tableOf } from "./sql-text.ts";

/** Something that rows are read from, whose related rows may be embedded. */
export interface RowSource extends Source {
  /** `public."books" as target` */
  from: string;
  /** The table whose foreign keys count, if these are rows of one. */
  relation: string | undefined;
}

export interface BuiltResource {
  /** `select … from … where … order by … limit …` */
  page: string;
  /** `from … where …`: the same rows without order and limit, and with no more joins than decide which. */
  matching: string;
}

/** A table embedded in another: a lateral join, with what it gives to the row. */
interface BuiltEmbed {
  embed: Embed;
  join: string;
  /** Whether rows of the other table depend on it. */
  decides: boolean;
  columns: Output[];
  /** What the row can be ordered by. */
  keys: Map<OrderTerm, string>;
}

interface Output {
  sql: string;
  name: string;
}

/** Writes the SQL of a resource and of everything embedded in it; one for each statement. */
export class ResourceBuilder {
  readonly parameters = new Parameters();
  readonly catalog: Catalog;
  readonly #maxRows: number;
  #embeds = 0;

  constructor(catalog: Catalog, maxRows: number) {
    this.catalog = catalog;
    this.#maxRows = maxRows;
  }

  /** `where` stays outside when the rows were chosen already. */
  build(resource: Resource, rows: RowSource): BuiltResource {
    const { embeds, source } = this.#embedsOf(resource, rows);
    const where = whereClause(resource.where, source, this.parameters);
    const list = this.#list(resource.select, source, embeds);
    const joins = embeds.map(({ join }) => join).join("");
    const deciding = embeds.filter(({ decides }) => decides).map(({ join }) => join);
    return {
      page: `select ${list} from ${rows.from}${joins}${where}${this.#tail(resource, source, embeds)}`,
      matching: `from ${rows.from}${deciding.join("")}${where}`,
    };
  }

  /** The names of what `build` selects, in order. */
  names({ select }: Resource, { relation, name, columns }: Omit<RowSource, "alias" | "from">): string[] {
    return select.flatMap((item) => {
      if (item.kind === "all") return [...columns.keys()];
      if (item.kind === "field") return [outputName(item)];
      if (!item.spread) return item.resource.select.length > 0 ? [nameOf(item)] : [];
      const { target } = this.#relationship(relation ?? name, item);
      return this.names(item.resource, { ...this.#target(target), relation: target });
    });
  }

  /** The columns of a table that `build` needs of its rows. */
  needs(resource: Resource, relation: Relation): string[] {
    if (resource.select.some(({ kind }) => kind === "all")) return [...relation.columns.keys()];
    const fields: Field[] = [
      ...resource.select.flatMap((item) => (item.kind === "field" ? [item.field] : [])),
      ...resource.order.flatMap(({ embed, field }) => (embed === undefined ? [field] : [])),
    ];
    // Here, so that an unknown one is refused in the words of a read.
    for (const field of fields) expression(field, { ...relation, alias: "target" }, new Parameters());
    const keys = resource.select.flatMap((item) => {
      if (item.kind !== "embed") return [];
      const { columns } = this.#relationship(relation.name, item);
      return columns.map(({ own }) => own);
    });
    return [...new Set([...fields.map(({ name }) => name), ...keys])];
  }

  limitClause({ limit, offset }: Pick<Resource, "limit" | "offset">): string {
    const limited = limit === undefined ? "" : ` limit ${this.parameters.typed(String(limit), "bigint")}`;
    return offset === 0 ? limited : `${limited} offset ${this.parameters.typed(String(offset), "bigint")}`;
  }

  #embedsOf(resource: Resource, rows: RowSource): { embeds: BuiltEmbed[]; source: Source } {
    const items = resource.select.filter((item) => item.kind === "embed");
    for (const { embed } of resource.order) {
      if (embed !== undefined) embedNamed(resource, embed);
    }
    const tested = new Set([...leavesOf(resource.where)].filter(isNullTest).map(({ field }) => field.name));
    const presence = new Map<string, string>();
    const embeds = items.map((embed) => {
      const id = ++this.#embeds;
      const name = nameOf(embed);
      const isFirst = !presence.has(name);
      if (isFirst) presence.set(name, `e${id}.value`);
      const order = isFirst ? resource.order.filter((term) => term.embed === name) : [];
      return this.#embed(embed, rows, order, id, tested.has(name));
    });
    return { embeds, source: { ...rows, embeds: presence } };
  }

  #embed(embed: Embed, parent: RowSource, order: OrderTerm[], id: number, isTested: boolean): BuiltEmbed {
    const relationship = this.#relationship(parent.relation ?? parent.name, embed);
    const { junction, columns, target } = relationship;
    const [alias, outer, between] = [`t${id}`, `e${id}`, `j${id}`];
    const relation = this.#target(target);
    const own = junction ? between : alias;
    const joinConditions = [
      ...columns.map((pair) => equal(parent.alias, pair.own, own, pair.other)),
      ...(junction?.columns ?? []).map((pair) => equal(alias, pair.own, between, pair.other)),
    ];
    const from = junction
      ? `${tableOf(target)} as ${alias}, ${tableOf(junction.table)} as ${between}`
      : `${tableOf(target)} as ${alias}`;
    const rows: RowSource = { name: target, alias, columns: relation.columns, relation: target, from };
    const toOne = isToOne(relationship);
    if (!toOne && embed.spread)
      throw notToOne("PGRST119", "spread operation", relationship.origin, embed.name);
    if (!toOne && order.length > 0)
      throw notToOne("PGRST118", "related order", relationship.origin, nameOf(embed));

    const { embeds, source } = this.#embedsOf(embed.resource, rows);
    const where = whereClause(embed.resource.where, source, this.parameters, joinConditions);
    const rest = `from ${from}${embeds.map(({ join }) => join).join("")}${where}`;
    const join = embed.inner ? " join" : " left join";
    const decides = embed.inner || isTested;
    if (toOne) {
      const outputs = embed.spread ? this.#outputs(embed.resource.select, source, embeds) : [];
      const value =
        embed.spread || embed.resource.select.length === 0
          ? "true"
          : `(select row_to_json(r.*) from (select ${this.#list(embed.resource.select, source, embeds)}) as r)`;
      const keys = order.map((term) => expression(term.field, source, this.parameters).sql);
      const selected = [
        `${value} as value`,
        ...outputs.map(({ sql }, index) => `${sql} as c${index}`),
        ...keys.map((sql, index) => `${sql} as k${index}`),
      ];
      const tail = this.#tail(embed.resource, source, embeds);
      return {
        embed,
        join: `${join} lateral (select ${selected.join(", ")} ${rest}${tail}) as ${outer} on true`,
        decides,
        columns: embed.spread
          ? outputs.map(({ name }, index) => ({ name, sql: `${outer}.c${index}` }))
          : [{ name: nameOf(embed), sql: `${outer}.value` }],
        keys: new Map(order.map((term, index) => [term, `${outer}.k${index}`])),
      };
    }
    const list =
      embed.resource.select.length === 0
        ? "true as present"
        : this.#list(embed.resource.select, source, embeds);
    const limit = Math.min(embed.resource.limit ?? this.#maxRows, this.#maxRows);
    const tail = this.#tail({ ...embed.resource, limit }, source, embeds);
    const on = embed.inner ? `${outer}.value is not null` : "true";
    return {
      embed,
      join: `${join} lateral (select json_agg(r.*) as value from (select ${list} ${rest}${tail}) as r) as ${outer} on ${on}`,
      decides,
      columns: [{ name: nameOf(embed), sql: `coalesce(${outer}.value, '[]')` }],
      keys: new Map(),
    };
  }

  #relationship(origin: string, { name, hint }: Embed): Relationship {
    return findRelationship(this.catalog.relationships, origin, name, hint);
  }

  #target(name: string): Relation {
    const relation = this.catalog.relations.get(name);
    if (!relation) throw unknownTable(name);
    return relation;
  }

  #list(select: SelectItem[], source: Source, embeds: BuiltEmbed[]): string {
    const parts = select.flatMap((item) => {
      if (item.kind === "all") return [`${source.alias}.*`];
      return this.#outputsOf(item, source, embeds).map(
        ({ sql, name }) => `${sql} as ${quoteIdentifier(name)}`,
      );
    });
    return parts.join(", ");
  }

  #outputs(select: SelectItem[], source: Source, embeds: BuiltEmbed[]): Output[] {
    return select.flatMap((item) => {
      if (item.kind !== "all") return this.#outputsOf(item, source, embeds);
      return [...source.columns.keys()].map((name) => ({
        name,
        sql: `${source.alias}.${quoteIdentifier(name)}`,
      }));
    });
  }

  #outputsOf(item: Exclude<SelectItem, { kind: "all" }>, source: Source, embeds: BuiltEmbed[]): Output[] {
    if (item.kind === "field") {
      const { sql } = expression(item.field, source, this.parameters);
      const cast = item.cast === undefined ? sql : `(${sql})::${castType(this.catalog, item.cast)}`;
      return [{ sql: cast, name: outputName(item) }];
    }
    if (item.resource.select.length === 0) return [];
    return embeds.find(({ embed }) => embed === item)?.columns ?? [];
  }

  #tail({ order, limit, offset }: Resource, source: Source, embeds: BuiltEmbed[]): string {
    const terms = order.map((term) => {
      const sql =
        term.embed === undefined
          ? expression(term.field, source, this.parameters).sql
          : embeds.map(({ keys }) => keys.get(term)).find((key) => key !== undefined);
      return `${sql}${direction(term)}`;
    });
    const orderBy = terms.length > 0 ? ` order by ${terms.join(", ")}` : "";
    return orderBy + this.limitClause({ limit, offset });
  }
}

function equal(left: string, leftColumn: string, right: string, rightColumn: string): string {
  return `${left}.${quoteIdentifier(leftColumn)} = ${right}.${quoteIdentifier(rightColumn)}`;
}

function direction({ descending, nulls }: OrderTerm): string {
  return `${descending ? " desc" : " asc"}${nulls === undefined ? "" : ` nulls ${nulls}`}`;
}

/** A place in JSON is called by its last key. */
function outputName({ alias, field: { name, path } }: SelectItem & { kind: "field" }): string {
  const key = path.findLast((step) => typeof step.key === "string")?.key;
  return alias ?? (typeof key === "string" ? key : name);
}

function castType({ types }: Catalog, cast: string): string {
  const [, name = "", brackets = ""] = /^(.*?)((?:\[\])?)$/s.exec(cast.toLowerCase()) ?? [];
  const type = types.get(name) ?? types.get(synonyms[name] ?? "");
  if (type === undefined) throw unknownType(cast);
  return type + brackets;
}

const synonyms: Record<string, string> = { int: "int4", decimal: "numeric", float: "float8", string: "text" };

function notToOne(code: string, what: string, origin: string, target: string): RestError {
  return new RestError(400, code, `A ${what} on '${target}' is not possible`, {
    details: `'${origin}' and '${target}' do not form a many-to-one or one-to-one relationship`,
  });
}
