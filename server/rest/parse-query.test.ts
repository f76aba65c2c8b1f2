import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFilter as parseFilterOf, parseGroup, parseOrder } from "./parse-conditions.ts";
import { parseQuery } from "./parse-query.ts";
import { parseSelect } from "./parse-select.ts";
import { RestError } from "./rest-error.ts";

const field = (name: string, ...path: { asText: boolean; key: string | number }[]) => ({ name, path });

function parseFilter(name: string, value: string) {
  const [column = "", key] = name.split("->>");
  return parseFilterOf(field(column, ...(key === undefined ? [] : [{ asText: true, key }])), value);
}

function refusedAs(code: string, parse: () => unknown): void {
  assert.throws(parse, (error) => error instanceof RestError && error.code === code);
}

test("parseSelect() reads columns, aliases, casts and places in JSON", () => {
  assert.deepEqual(parseSelect("*"), [{ kind: "all" }]);
  assert.deepEqual(parseSelect(""), [{ kind: "all" }]);
  assert.deepEqual(parseSelect("id, name:full_name "), [
    { kind: "field", field: field("id"), alias: undefined, cast: undefined },
    { kind: "field", field: field("full_name"), alias: "name", cast: undefined },
  ]);
  assert.deepEqual(parseSelect("age::text,when:created_at::date"), [
    { kind: "field", field: field("age"), alias: undefined, cast: "text" },
    { kind: "field", field: field("created_at"), alias: "when", cast: "date" },
  ]);
  assert.deepEqual(parseSelect('params->a->0->>"b,c",x:params->>y'), [
    {
      kind: "field",
      field: field(
        "params",
        { asText: false, key: "a" },
        { asText: false, key: 0 },
        { asText: true, key: "b,c" },
      ),
      alias: undefined,
      cast: undefined,
    },
    { kind: "field", field: field("params", { asText: true, key: "y" }), alias: "x", cast: undefined },
  ]);
  assert.deepEqual(parseSelect('"a\\"b"'), [
    { kind: "field", field: field('a"b'), alias: undefined, cast: undefined },
  ]);
});

test("parseSelect() reads what is embedded, at any depth", () => {
  const all = { where: [], order: [], limit: undefined, offset: 0 };
  assert.deepEqual(parseSelect("id,author:authors!fk!inner(name,...boss(n:name)),tags()"), [
    { kind: "field", field: field("id"), alias: undefined, cast: undefined },
    {
      kind: "embed",
      name: "authors",
      alias: "author",
      hint: "fk",
      inner: true,
      spread: false,
      resource: {
        ...all,
        select: [
          { kind: "field", field: field("name"), alias: undefined, cast: undefined },
          {
            kind: "embed",
            name: "boss",
            alias: undefined,
            hint: undefined,
            inner: false,
            spread: true,
            resource: {
              ...all,
              select: [{ kind: "field", field: field("name"), alias: "n", cast: undefined }],
            },
          },
        ],
      },
    },
    {
      kind: "embed",
      name: "tags",
      alias: undefined,
      hint: undefined,
      inner: false,
      spread: false,
      resource: { ...all, select: [] },
    },
  ]);
  for (const text of [
    "a(",
    "a(b",
    "a(b)c",
    "a(b))",
    "a!(b)",
    "a!x!y!z(b)",
    "a->b(c)",
    "x:...a(b)",
    `${"a(".repeat(11)}b${")".repeat(11)}`,
    Array.from({ length: 51 }, () => "a(b)").join(","),
  ]) {
    refusedAs("PGRST100", () => parseSelect(text));
  }
});

test("parseSelect() refuses aggregates by their code, and aliases that are more than a name", () => {
  for (const text of ["count()", "amount.sum()", "n:amount.avg()"]) {
    refusedAs("PGRST123", () => parseSelect(text));
  }
  for (const text of [
    '"x""; drop table a; --":id',
    '"a\\"b":id',
    "a::",
    "a,,b",
    "a->",
    `${"x".repeat(64)}:id`,
  ]) {
    refusedAs("PGRST100", () => parseSelect(text));
  }
});

test("parseFilter() reads operators, negation and lists", () => {
  assert.deepEqual(parseFilter("age", "gte.18"), {
    kind: "compare",
    negated: false,
    field: field("age"),
    operator: "gte",
    value: "18",
  });
  assert.deepEqual(parseFilter("name", "not.ilike.*a.b*"), {
    kind: "pattern",
    negated: true,
    field: field("name"),
    operator: "ilike",
    value: "%a.b%",
  });
  assert.deepEqual(parseFilter("status", 'in.(a,"b,c","d\\"e",)'), {
    kind: "in",
    negated: false,
    field: field("status"),
    values: ["a", "b,c", 'd"e', ""],
  });
  assert.deepEqual(parseFilter("status", "in.()"), {
    kind: "in",
    negated: false,
    field: field("status"),
    values: [],
  });
  assert.deepEqual(parseFilter("done", "not.is.null"), {
    kind: "is",
    negated: true,
    field: field("done"),
    value: "null",
  });
  assert.deepEqual(parseFilter("name", "like(any).{a*,b*}"), {
    kind: "quantified",
    negated: false,
    field: field("name"),
    operator: "like",
    quantifier: "any",
    array: "{a%,b%}",
  });
  assert.deepEqual(parseFilter("text", "not.wfts(english).cat -dog"), {
    kind: "search",
    negated: true,
    field: field("text"),
    operator: "wfts",
    language: "english",
    value: "cat -dog",
  });
  assert.deepEqual(parseFilter("params->>x", "eq.(1,2)"), {
    kind: "compare",
    negated: false,
    field: field("params", { asText: true, key: "x" }),
    operator: "eq",
    value: "(1,2)",
  });
});

test("parseFilter() refuses what is no filter", () => {
  for (const value of [
    "18",
    "eq",
    "like",
    "foo.1",
    "in.1,2",
    "in.(1",
    "is.maybe",
    "eq(some).{1}",
    "cs(any).{1}",
  ]) {
    refusedAs("PGRST100", () => parseFilter("age", value));
  }
  refusedAs("PGRST100", () => parseFilter("text", "fts(en;glish).cat"));
});

test("parseGroup() reads nested logic, quoted values and braces", () => {
  assert.deepEqual(
    parseGroup("or", false, '(a.eq.1,not.and(b.lt.2,c.not.in.(x,"y)")),d.cs.{p,q},e.eq."f,g")'),
    {
      kind: "group",
      negated: false,
      operator: "or",
      conditions: [
        { kind: "compare", negated: false, field: field("a"), operator: "eq", value: "1" },
        {
          kind: "group",
          negated: true,
          operator: "and",
          conditions: [
            { kind: "compare", negated: false, field: field("b"), operator: "lt", value: "2" },
            { kind: "in", negated: true, field: field("c"), values: ["x", "y)"] },
          ],
        },
        { kind: "compare", negated: false, field: field("d"), operator: "cs", value: "{p,q}" },
        { kind: "compare", negated: false, field: field("e"), operator: "eq", value: "f,g" },
      ],
    },
  );
  for (const text of [
    "a.eq.1",
    "(a.eq.1",
    "(a.eq.1)x",
    "()",
    "(a)",
    `${"and(".repeat(40)}a.eq.1${")".repeat(40)}`,
  ]) {
    refusedAs("PGRST100", () => parseGroup("and", false, text));
  }
});

test("parseOrder() reads direction and the place of nulls", () => {
  assert.deepEqual(parseOrder("a,b.desc,c(name).asc.nullsfirst,d->>e.nullslast"), [
    { embed: undefined, field: field("a"), descending: false, nulls: undefined },
    { embed: undefined, field: field("b"), descending: true, nulls: undefined },
    { embed: "c", field: field("name"), descending: false, nulls: "first" },
    { embed: undefined, field: field("d", { asText: true, key: "e" }), descending: false, nulls: "last" },
  ]);
  for (const text of ["a.up", "a.desc.asc", "a.desc;drop", "", "a.nullslast.desc"]) {
    refusedAs("PGRST100", () => parseOrder(text));
  }
});

test("parseQuery() tells parameters apart, and refuses zero bytes anywhere", () => {
  const query = parseQuery(
    new URLSearchParams('select=id&a=eq.1&a=lt.5&or=(b.eq.2)&limit=3&offset=4&columns="x",y&on_conflict=x'),
  );
  assert.equal(query.where.length, 3);
  assert.deepEqual([query.limit, query.offset], [3, 4]);
  assert.deepEqual([query.columns, query.onConflict], [["x", "y"], ["x"]]);
  const nested = parseQuery(
    new URLSearchParams("b.limit=1&b.c.id=eq.1&b.not.or=(x.eq.1)&b.order=y&select=a,b:bs(x,c(id))"),
  );
  const [, embed] = nested.select;
  assert.ok(embed?.kind === "embed");
  assert.deepEqual([embed.resource.limit, embed.resource.order.length], [1, 1]);
  assert.deepEqual([embed.resource.where[0]?.kind, embed.resource.where[0]?.negated], ["group", true]);
  const [, deeper] = embed.resource.select;
  assert.equal(deeper?.kind === "embed" && deeper.resource.where.length, 1);
  for (const text of [
    "bs.x=eq.1&select=b:bs(x)",
    "x.limit=1",
    "a.order=b&select=a",
    "order=a(b)&a.c.or=(x.eq.1)",
  ]) {
    refusedAs("PGRST108", () => parseQuery(new URLSearchParams(text)));
  }
  assert.equal(parseQuery(new URLSearchParams("a=eq.1&b=eq.2"), (name) => name === "a").where.length, 1);
  for (const text of ["a=eq.%00", "%00=eq.1", "select=%00:id", "limit=x", "offset=1e3"]) {
    refusedAs("PGRST100", () => parseQuery(new URLSearchParams(text)));
  }
  refusedAs("PGRST103", () => parseQuery(new URLSearchParams("limit=-1")));
});
