import assert from "node:assert/strict";
import { test } from "node:test";
import { buildDelete, buildInsert, buildRead, buildUpdate } from "./build-sql.ts";
import type { Catalog, Column, Relation } from "./catalog.ts";
import { parseQuery } from "./parse-query.ts";
import { RestError } from "./rest-error.ts";
import { arrayLiteral, quoteIdentifier } from "./sql-text.ts";

const column = (name: string, type: string): [string, Column] => [name, { name, type, default: null }];
const books: Relation = {
  name: "books",
  columns: new Map([
    column("id", "uuid"),
    column("title", "text"),
    column("tags", "text[]"),
    column("data", "jsonb"),
  ]),
  primaryKey: ["id"],
  writes: { insert: true, update: true, delete: true },
};
const catalog: Catalog = {
  relations: new Map([["books", books]]),
  relationships: new Map(),
  routines: new Map(),
  types: new Map([["text", "text"]]),
};
const shape = { counted: undefined, representation: true, single: false, stripNulls: false, csv: false };

const read = (parameters: string) =>
  buildRead(catalog, books, parseQuery(new URLSearchParams(parameters)), shape);
const refusedAs = (code: string, build: () => unknown) =>
  assert.throws(build, (error) => error instanceof RestError && error.code === code);

test("buildRead() puts values into parameters, cast to their column's type", () => {
  const { text, values } = read(
    "select=id,t:title,data->>x&id=eq.1&tags=cs.{a}&order=title.desc&limit=2&offset=1",
  );
  assert.match(
    text,
    /from \(select target\."id" as "id", target\."title" as "t", \(target\."data"->>\(\$\d::text\)\) as "x" from public\."books" as target where \(target\."id" = \$\d::text::uuid\) and \(target\."tags" @> \$\d::text::text\[\]\) order by target\."title" desc limit \$\d::text::bigint offset \$\d::text::bigint\) as page_row$/,
  );
  assert.deepEqual([...values].sort(), ["1", "1", "2", "x", "{a}"]);
});

test("no text of a request becomes SQL, wherever it stands", () => {
  const attack = `x') or true; drop table books; --"`;
  const quoted = `"${attack.replaceAll('"', '\\"')}"`;
  for (const parameters of [
    { title: `eq.${attack}` },
    { title: `like.${attack}` },
    { title: `in.(${quoted})` },
    { title: `eq(any).{${quoted}}` },
    { [`data->>${quoted}`]: `eq.${attack}` },
    { or: `(title.eq.${quoted},data->${quoted}.eq.1)` },
    { order: `data->>${quoted}` },
  ]) {
    const { text, values } = buildRead(
      catalog,
      books,
      parseQuery(new URLSearchParams(Object.entries(parameters))),
      shape,
    );
    assert.ok(!text.includes("drop table"), text);
    assert.ok(values.some((value) => value.includes("drop table")));
  }
  // As a name in the answer it stays inside its quotes.
  const { text } = read(`select=data->>${encodeURIComponent(quoted)}`);
  assert.ok(text.includes(`as "${attack.replaceAll('"', '""')}"`), text);

  for (const parameters of [
    { [quoted]: "eq.1" },
    { select: quoted },
    { order: quoted },
    { or: `(${quoted}.eq.1)` },
  ]) {
    refusedAs("42703", () =>
      buildRead(catalog, books, parseQuery(new URLSearchParams(Object.entries(parameters))), shape),
    );
  }
  refusedAs("42704", () => read(`select=id::${encodeURIComponent("text; drop table books")}`));
});

test("writes take the body as one parameter and columns from the catalog", () => {
  const query = parseQuery(new URLSearchParams("on_conflict=id"));
  const rows = [{ id: "1", title: "x" }];
  const body = { json: JSON.stringify(rows), rows, resolution: "merge" as const, missingAsDefault: false };
  const { text, values } = buildInsert(catalog, books, query, body, { ...shape, representation: false });
  assert.match(
    text,
    /insert into public\."books" as target \("id", "title"\) select body\."id", body\."title" from json_to_recordset\(\$1::text::json\) as body \("id" uuid, "title" text\) on conflict \("id"\) do update set "id" = excluded\."id", "title" = excluded\."title" where .* returning 1/,
  );
  assert.deepEqual(values, [body.json]);
  const unknown = [{ 'id"; drop table books; --': 1 }];
  refusedAs("PGRST204", () => buildInsert(catalog, books, query, { ...body, rows: unknown }, shape));
  refusedAs("PGRST102", () =>
    buildInsert(
      catalog,
      books,
      parseQuery(new URLSearchParams()),
      { ...body, rows: [{ id: 1 }, { title: 1 }] },
      shape,
    ),
  );
  refusedAs("42703", () =>
    buildInsert(catalog, books, parseQuery(new URLSearchParams("on_conflict=nope")), body, shape),
  );
});

test("an update or deletion of everything is refused", () => {
  const everything = parseQuery(new URLSearchParams());
  const some = parseQuery(new URLSearchParams("id=eq.1&limit=1"));
  const body = { json: "[{}]", rows: [{ title: "x" }], missingAsDefault: false };
  refusedAs("21000", () => buildUpdate(catalog, books, everything, body, shape));
  refusedAs("21000", () => buildDelete(catalog, books, everything, shape));
  refusedAs("PGRST100", () => buildDelete(catalog, books, some, shape));
});

test("quoteIdentifier() and arrayLiteral() escape what would end them", () => {
  assert.equal(quoteIdentifier('a"b'), '"a""b"');
  assert.throws(() => quoteIdentifier("a\0b"));
  assert.equal(arrayLiteral(['a"b', "c\\d", "", "null", "{}"]), '{"a\\"b","c\\\\d","","null","{}"}');
});
