import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFilter, parseGroup, parseOrder, parseQuery, parseSelect } from "./parse-query.ts";
import { RestError } from "./rest-error.ts";

const field = (name: string, ...path: { asText: boolean; key: string | number }[]) => ({ name, path });

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

test("parseSelect() refuses embedding and aggregates by their codes, and aliases that are more than a name", () => {
  for (const text of ["id,posts(*)", "author:users!fk(name)", "...users(name)"]) {
    refusedAs("PGRST200", () => parseSelect(text));
  }
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
    values: ["a%", "b%"],
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
  refusedAs("PGRST100", () => parseFilter("age", "fts.cat"));
  refusedAs("PGRST200", () => parseFilter("posts.id", "eq.1"));
});

test("parseGroup() reads nested logic, quoted values and braces", () => {
  assert.deepEqual(parseGroup("or", '(a.eq.1,not.and(b.lt.2,c.not.in.(x,"y)")),d.cs.{p,q},e.eq."f,g")'), {
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
  });
  for (const text of [
    "a.eq.1",
    "(a.eq.1",
    "(a.eq.1)x",
    "()",
    "(a)",
    `${"and(".repeat(40)}a.eq.1${")".repeat(40)}`,
  ]) {
    refusedAs("PGRST100", () => parseGroup("and", text));
  }
});

test("parseOrder() reads direction and the place of nulls", () => {
  assert.deepEqual(parseOrder("a,b.desc,c.asc.nullsfirst,d->>e.nullslast"), [
    { field: field("a"), descending: false, nulls: undefined },
    { field: field("b"), descending: true, nulls: undefined },
    { field: field("c"), descending: false, nulls: "first" },
    { field: field("d", { asText: true, key: "e" }), descending: false, nulls: "last" },
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
  assert.equal(parseQuery(new URLSearchParams("a=eq.1&b=eq.2"), (name) => name === "a").where.length, 1);
  for (const text of ["a=eq.%00", "%00=eq.1", "select=%00:id", "limit=x", "offset=1e3"]) {
    refusedAs("PGRST100", () => parseQuery(new URLSearchParams(text)));
  }
  refusedAs("PGRST103", () => parseQuery(new URLSearchParams("limit=-1")));
});
