import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { SignJWT } from "jose";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { withDatabase } from "../../test/support/database.ts";
import { postgrestIsMissing, withPostgrest } from "../../test/support/postgrest.ts";
import { withServed } from "../auth/serve-for-tests.ts";
import { maxRows } from "./build-sql.ts";
import { type Case, comparedRequests, type Options, type Principal } from "./postgrest-comparison.cases.ts";
import { createRest } from "./rest.ts";

interface Outcome {
  status: number;
  headers: Record<string, unknown>;
  body: unknown;
  /** What the tables hold afterwards, if it was a write. */
  rows?: unknown;
}

type Send = (as: Principal, method: string, path: string, options: Options) => Promise<Response>;

const file = (name: string) => readFileSync(new URL(name, import.meta.url), "utf8");

test("the same requests get the same answers from PostgREST and from us", { skip: postgrestIsMissing }, (t) =>
  withDatabase(async (database) => {
    await database.sql.query(file("postgrest-comparison.schema.sql"));
    await withServed(
      database,
      (app, context) => app.route("/rest/v1", createRest(context).app),
      async ({ context, url }) => {
        const { jwtSecret, anonKey, serviceRoleKey } = context.keys;
        const tokenOf = (id: string) =>
          new SignJWT({ role: "authenticated" })
            .setProtectedHeader({ alg: "HS256" })
            .setIssuer(`${url}/auth/v1`)
            .setAudience("authenticated")
            .setSubject(`00000000-0000-0000-0000-00000000000${id}`)
            .setIssuedAt()
            .setExpirationTime("1h")
            .sign(new TextEncoder().encode(jwtSecret));
        const tokens: Record<Principal, string> = {
          service: serviceRoleKey,
          ada: await tokenOf("a"),
          bob: await tokenOf("b"),
          anon: anonKey,
        };
        const settings = { databaseUrl: database.url, jwtSecret, maxRows };
        await withPostgrest(settings, async (postgrestUrl) => {
          const theirs: Send = (as, method, path, options) =>
            send(postgrestUrl + path, method, options, { authorization: `Bearer ${tokens[as]}` });
          const ours: Send = (as, method, path, options) =>
            send(`${url}/rest/v1${path}`, method, options, {
              apikey: anonKey,
              authorization: `Bearer ${tokens[as]}`,
            });
          for (const [feature, cases] of Object.entries(comparedRequests)) {
            await t.test(feature, async () => {
              const found: string[] = [];
              for (const one of cases) found.push(...(await differences(database.sql, one, theirs, ours)));
              assert.ok(found.length === 0, `${found.length} differ:\n${found.join("\n")}`);
            });
          }
        });
      },
    );
  }),
);

function send(url: string, method: string, options: Options, headers: Record<string, string>) {
  const { body, prefer, accept, type, range } = options;
  return fetch(url, {
    method,
    headers: {
      ...headers,
      ...(prefer === undefined ? {} : { prefer }),
      ...(accept === undefined ? {} : { accept }),
      ...(range === undefined ? {} : { range }),
      ...(body === undefined ? {} : { "content-type": type ?? "application/json" }),
      ...options.headers,
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
}

async function differences(sql: Sql, one: Case, theirs: Send, ours: Send): Promise<string[]> {
  const [request, options = {}] = typeof one === "string" ? [one] : one;
  const [, method = "", path = ""] = /^(\w+) (.*)$/s.exec(request) ?? [];
  const { as = "service", differs } = options;
  const outcomes: Outcome[] = [];
  for (const send of [theirs, ours]) {
    await sql.query(file("postgrest-comparison.rows.sql"));
    const response = await send(as, method, path, options);
    const writes = !["GET", "HEAD", "OPTIONS"].includes(method);
    outcomes.push(outcomeOf(response, await response.text(), writes ? await contents(sql) : undefined));
  }
  const [their, our] = outcomes.map((outcome) => compared(outcome, request, options));
  if (isDeepStrictEqual(their?.rows, our?.rows)) for (const outcome of [their, our]) delete outcome?.rows;
  const said = `${as} ${request} ${JSON.stringify({ ...options, as: undefined })}`;
  const shown = `${said}\n  PostgREST: ${JSON.stringify(their)}\n  Darkroom:  ${JSON.stringify(our)}`;
  if (differs) {
    const seen = outcomes.map((outcome) => shortly(outcome));
    return isDeepStrictEqual(seen, [differs.theirs, differs.ours])
      ? []
      : [`${shown}\n  expected to differ as ${JSON.stringify(differs)}`];
  }
  return isDeepStrictEqual(their, our) ? [] : [shown];
}

function outcomeOf(response: Response, text: string, rows: unknown): Outcome {
  const header = (name: string) => response.headers.get(name) ?? undefined;
  const isJson = header("content-type")?.includes("json") && text !== "";
  const applied = header("preference-applied");
  return {
    status: response.status,
    headers: {
      "content-type": header("content-type"),
      "content-range": header("content-range"),
      location: header("location"),
      "www-authenticate": header("www-authenticate"),
      "x-tea": header("x-tea"),
      "preference-applied": applied?.split(", ").sort(),
    },
    body: isJson ? JSON.parse(text) : text,
    rows,
  };
}

async function contents(sql: Sql): Promise<unknown> {
  const [row] = await sql`
    select (select json_agg(r order by r.id) from public.authors r) as authors,
           (select json_agg(r order by r.id) from public.books r) as books,
           (select json_agg(r order by r.book_id) from public.covers r) as covers,
           (select json_agg(r order by r.id) from public.genres r) as genres,
           (select json_agg(r order by r.book_id, r.genre_id) from public.book_genres r) as book_genres,
           (select json_agg(r order by r.id) from public.notes r) as notes,
           (select json_agg(r order by r.a, r.b) from public.pairs r) as pairs,
           (select json_agg(r order by r.n) from public.keyless r) as keyless,
           (select json_agg(r) from public.vaults r) as vaults`;
  return row;
}

/** Words that say the same, and what newer versions of PostgREST say otherwise than the one compared with. */
function compared(outcome: Outcome, request: string, { ignore = [] }: Options): Outcome {
  let { status, body } = outcome;
  const headers = { ...outcome.headers };
  if (isRefusal(body)) {
    const refusal: Record<string, unknown> = { ...body };
    // Of refusals the status and code matter; PostgREST 12 sends two types with some, and ranges with others.
    delete headers["content-type"];
    delete headers["preference-applied"];
    switch (body.code) {
      case "PGRST100":
        // The words of its parser.
        delete refusal["message"];
        delete refusal["details"];
        break;
      case "PGRST107":
        status = 406;
        delete refusal["message"];
        break;
      case "PGRST102":
      case "PGRST116":
        delete refusal["message"];
        break;
      case "PGRST204":
      case "42883":
        delete refusal["message"];
        delete refusal["hint"];
        break;
      case "42P01":
        status = 404;
        refusal["code"] = "PGRST205";
        delete refusal["message"];
        break;
      case "PGRST205":
        delete refusal["message"];
        break;
      case "PGRST201":
        refusal["details"] = (body.details as Record<string, string>[])
          .map((one) => JSON.stringify(Object.entries(one).sort()))
          .sort();
        refusal["hint"] = String(body.hint)
          .split(/[:,.] /)
          .sort();
        break;
      // Guesses at what was meant, and names that are PostgreSQL's own of a part of the statement.
      case "42703":
        delete refusal["message"];
        delete refusal["hint"];
        break;
      case "PGRST200":
      case "PGRST202":
        delete refusal["hint"];
        break;
      default:
    }
    body = refusal;
  } else if (status === 404 && isDeepStrictEqual(body, {})) {
    body = { code: "PGRST205", details: null, hint: null };
    delete headers["content-type"];
    delete headers["preference-applied"];
  }
  for (const name of ignore) {
    if (name === "body") body = undefined;
    else delete headers[name];
  }
  // Without an order there is none.
  if (Array.isArray(body) && !request.includes("order=")) body = body.map(canonical).sort();
  return { status, headers, body, rows: outcome.rows };
}

/** The same text for the same value, whatever the order of keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

function isRefusal(body: unknown): body is Record<string, unknown> & { code: string } {
  return typeof body === "object" && body !== null && "code" in body && "message" in body && "hint" in body;
}

/** `400 PGRST100`, or the status alone. */
function shortly(outcome: Outcome | undefined): string {
  const code = isRefusal(outcome?.body) ? ` ${outcome.body.code}` : "";
  return `${outcome?.status}${code}`;
}
