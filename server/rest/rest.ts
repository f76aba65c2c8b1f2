import { type Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Sql } from "postgres";
import type { Identity } from "../../supabase/functions/_shared/auth/identify.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { idOf } from "../../supabase/functions/_shared/http/bind.ts";
import { corsHeaders } from "../../supabase/functions/_shared/http/cors.ts";
import type { HostContext } from "../context.ts";
import { hostIdentifier } from "../identifier.ts";
import {
  buildCall,
  buildDelete,
  buildInsert,
  buildRead,
  buildUpdate,
  type CallArguments as Given,
  type Inserted,
  type Shape,
  type Statement,
} from "./build-sql.ts";
import { type Catalog, createCatalogCache, type Relation, type Routine } from "./catalog.ts";
import { looksLikeFilter, parseQuery, type Query, reservedParameters } from "./parse-query.ts";
import {
  contentRange,
  type MediaType,
  parseAccept,
  parsePreferences,
  parseRange,
  type Preferences,
  requirePublicSchema,
} from "./preferences.ts";
import { createPreparedShapes } from "./prepared-shapes.ts";
import { type JsonBody, readJson } from "./read-body.ts";
import { RestError, restErrorOf, speaksOfStaleSchema, UnknownNameError, unknownTable } from "./rest-error.ts";

const maxRows = 1_000;
const bodyLimitBytes = 5 * 1024 * 1024;
const statementTimeoutMilliseconds = 10_000;
const maxPreparedShapes = 500;

/** The caller as the database knows it. */
interface DatabaseCaller {
  role: "anon" | "authenticated" | "service_role";
  claims: Record<string, unknown>;
}

interface Wanted {
  url: URL;
  caller: DatabaseCaller;
  media: MediaType;
  preferences: Preferences;
  /** Of the resource below `/rest/v1`, as functions and policies see it. */
  path: string;
  method: string;
}

interface Answer {
  body: string | null;
  rows: number;
  total: number | undefined;
}

interface RestVariables {
  Variables: { requestId: string; role: DatabaseCaller["role"] };
}

type RestContext = Context<RestVariables>;

/** PostgREST's interface to `public`, relative to `/rest/v1`. What a caller may do is for grants and policies to say. */
export function createRest(context: HostContext): { app: Hono } {
  const identifier = hostIdentifier(context);
  const catalogs = createCatalogCache(context.sql);
  const execute = createExecutor(context.sql);
  const app = new Hono<RestVariables>();

  app.use("*", async (c, next) => {
    c.set("requestId", idOf(c.req.raw));
    c.set("role", "anon");
    await next();
    for (const [name, value] of Object.entries(corsHeaders)) c.res.headers.set(name, value);
    c.res.headers.set("x-request-id", c.get("requestId"));
  });

  app.onError((error, c) => {
    const refused = restErrorOf(fromAppError(error), c.get("role"));
    if (refused.status >= 500) {
      context.log.error(
        { request_id: c.get("requestId"), err: refused.cause ?? refused },
        "rest request failed",
      );
    }
    if (refused.status === 401) c.header("www-authenticate", "Bearer");
    if (refused.status === 503 || refused.status === 429) c.header("retry-after", "1");
    c.header("content-type", "application/json; charset=utf-8");
    const { code, message, details, hint } = refused;
    return c.body(JSON.stringify({ code, message, details, hint }), refused.status as ContentfulStatusCode);
  });

  app.options("*", (c) => {
    c.header("access-control-allow-methods", "GET, HEAD, POST, PATCH, DELETE, OPTIONS");
    return c.body(null, 204);
  });

  async function wanted(c: RestContext, path: string): Promise<Wanted> {
    const { headers } = c.req.raw;
    // The gateway in front of Supabase wants a key of the project beside whatever else is sent.
    if (!headers.has("apikey")) throw unauthenticated("No API key found in request");
    await identifier.identify(new Headers({ apikey: headers.get("apikey") ?? "" }));
    const caller = databaseCaller(await identifier.identify(headers));
    c.set("role", caller.role);
    requirePublicSchema(headers);
    return {
      url: new URL(c.req.url),
      caller,
      media: parseAccept(headers.get("accept")),
      preferences: parsePreferences(headers.get("prefer")),
      path,
      method: c.req.method,
    };
  }

  /** Runs with the catalog at hand, and once more with a fresh one when that may be out of date. */
  async function withCatalog<Result>(work: (catalog: Catalog) => Promise<Result>): Promise<Result> {
    const catalog = await catalogs.current();
    try {
      return await work(catalog);
    } catch (error) {
      if (!(error instanceof UnknownNameError) && !speaksOfStaleSchema(error)) throw error;
      const fresh = await catalogs.fresherThan(catalog);
      if (!fresh) throw error;
      // What failed was rolled back, so nothing happens twice.
      return await work(fresh);
    }
  }

  async function readTable(c: RestContext): Promise<Response> {
    const table = c.req.param("table") ?? "";
    const request = await wanted(c, `/${table}`);
    const query = limited(parseQuery(request.url.searchParams), c.req.header("range"));
    const shape = shapeOf(request, request.method !== "HEAD");
    const answer = await withCatalog((catalog) =>
      execute(buildRead(catalog, relationOf(catalog, table), query, shape), request, "read only"),
    );
    return pageResponse(c, request, query, answer);
  }

  async function writeTable(
    c: RestContext,
    prepare: (request: Wanted) => Promise<Build>,
    status: { representation: 200 | 201; minimal: 201 | 204 },
    rangeOf: (rows: number, total: number | undefined) => string,
  ): Promise<Response> {
    const table = c.req.param("table") ?? "";
    const request = await wanted(c, `/${table}`);
    const query = parseQuery(request.url.searchParams);
    const build = await prepare(request);
    const representation = request.preferences.returning === "representation";
    const shape = shapeOf(request, representation);
    const written = await withCatalog((catalog) =>
      execute(build(catalog, relationOf(catalog, table), query, shape), request, "read write"),
    );
    c.header("content-range", rangeOf(written.rows, shape.counted ? written.rows : undefined));
    return respond(c, request, representation ? status.representation : status.minimal, written.body);
  }

  app.get("/:table", readTable);

  app.post("/:table", (c) =>
    writeTable(
      c,
      async ({ preferences: { resolution, missingAsDefault } }) => {
        const body = { ...rowsOf(await readJson(c.req.raw, bodyLimitBytes)), resolution, missingAsDefault };
        return (catalog, relation, query, shape) => buildInsert(catalog, relation, query, body, shape);
      },
      { representation: 201, minimal: 201 },
      (_rows, total) => contentRange(0, 0, total),
    ),
  );

  app.patch("/:table", (c) =>
    writeTable(
      c,
      async () => {
        const body = rowsOf(await readJson(c.req.raw, bodyLimitBytes));
        if (body.rows.length !== 1) throw new RestError(400, "PGRST102", "An update takes one object");
        return (catalog, relation, query, shape) => buildUpdate(catalog, relation, query, body, shape);
      },
      { representation: 200, minimal: 204 },
      (rows, total) => contentRange(0, rows, total),
    ),
  );

  app.delete("/:table", (c) =>
    writeTable(
      c,
      () => Promise.resolve(buildDelete),
      { representation: 200, minimal: 204 },
      (_rows, total) => contentRange(0, 0, total),
    ),
  );

  async function callFunction(
    c: RestContext,
    argumentsOf: (request: Wanted) => Promise<Given>,
  ): Promise<Response> {
    const name = c.req.param("function") ?? "";
    const request = await wanted(c, `/rpc/${name}`);
    const given = await argumentsOf(request);
    const quiet = request.method === "HEAD" || request.preferences.applied.includes("return=minimal");
    const shape = shapeOf(request, !quiet);
    return await withCatalog(async (catalog) => {
      const routine = chooseRoutine(catalog, name, given);
      const isArgument = (key: string) =>
        given.kind === "text" &&
        routine.arguments.some((argument) => argument.name === key) &&
        given.values.has(key);
      const query = limited(parseQuery(request.url.searchParams, isArgument), undefined);
      const statement = buildCall(catalog, routine, given, query, shape);
      const answer = await execute(
        statement,
        request,
        given.kind === "text" ? "read only" : "read write",
        routine,
      );
      if (routine.returns === "void") return c.body(null, 204);
      return pageResponse(c, request, query, answer);
    });
  }

  app.get("/rpc/:function", (c) =>
    callFunction(c, ({ url }) => {
      const values = [...url.searchParams].filter(([name]) => !reservedParameters.has(name));
      return Promise.resolve({ kind: "text", values: new Map(values) });
    }),
  );

  app.post("/rpc/:function", (c) =>
    callFunction(c, async () => {
      const body = await readJson(c.req.raw, bodyLimitBytes);
      const value = body?.value ?? {};
      if (!isRecord(value)) throw new RestError(400, "PGRST102", "Arguments must be a JSON object");
      return { kind: "json", json: body?.text ?? "{}", names: Object.keys(value) };
    }),
  );

  app.all("/:table", () => {
    throw new RestError(405, "PGRST117", "Unsupported HTTP method");
  });
  app.all("/rpc/:function", () => {
    throw new RestError(405, "PGRST101", "Functions are called by GET or POST");
  });
  app.all("*", () => {
    throw new RestError(404, "PGRST125", "Invalid path specified in request URL");
  });

  // Variables of requests are nobody else's.
  return { app: new Hono().route("/", app) };
}

type Build = (catalog: Catalog, relation: Relation, query: Query, shape: Shape) => Statement;

type Execute = (
  statement: Statement,
  request: Wanted,
  access: "read only" | "read write",
  routine?: Routine,
) => Promise<Answer>;

/** Runs a statement as the caller: role and claims live and die with the transaction. */
function createExecutor(sql: Sql): Execute {
  const isPrepared = createPreparedShapes(maxPreparedShapes);

  return async (statement, request, access, routine) => {
    const { caller, method, path } = request;
    return await sql.begin(access, async (transaction) => {
      // Sent together: PostgreSQL runs them in this order, and the second not at all if the first fails.
      const [, [row]] = await Promise.all([
        transaction`
          select set_config('role', ${caller.role}, true),
                 set_config('request.jwt.claims', ${JSON.stringify(caller.claims)}, true),
                 set_config('request.method', ${method}, true),
                 set_config('request.path', ${path}, true),
                 set_config('search_path', '"public", "extensions"', true),
                 set_config('statement_timeout', ${String(statementTimeoutMilliseconds)}, true)`,
        transaction.unsafe<{ body: string | null; rows: string; total: string | null }[]>(
          statement.text,
          statement.values,
          { prepare: isPrepared(statement.text) },
        ),
      ]);
      if (!row) throw new Error("a REST statement gave no row");
      const answer: Answer = {
        body: row.body,
        rows: Number(row.rows),
        total: row.total === null ? undefined : Number(row.total),
      };
      // Inside the transaction, so that a refusal takes back what was written.
      holdAgainstWishes(answer, request, routine);
      return answer;
    });
  };
}

function holdAgainstWishes(
  { rows }: Answer,
  { media, preferences, method }: Wanted,
  routine?: Routine,
): void {
  const hasRows = !routine || (routine.returnsSet && routine.returns === "row");
  if (media.single && hasRows && rows !== 1) {
    throw new RestError(406, "PGRST116", "Cannot coerce the result to a single JSON object", {
      details: `The result contains ${rows} rows`,
    });
  }
  const { maxAffected } = preferences;
  const writes = method !== "GET" && method !== "HEAD";
  if (writes && maxAffected !== undefined && rows > maxAffected) {
    throw new RestError(400, "PGRST124", "Query result exceeds max-affected preference constraint", {
      details: `The query affects ${rows} rows`,
    });
  }
}

function databaseCaller(identity: Identity): DatabaseCaller {
  switch (identity.kind) {
    case "service":
      return { role: "service_role", claims: { role: "service_role" } };
    case "user":
      return { role: "authenticated", claims: identity.claims };
    case "public-key":
      return { role: "anon", claims: { role: "anon" } };
    case "nobody":
      throw unauthenticated("No API key found in request");
    case "personal-access-token":
      // A token speaks to the functions, which know its scopes; here it would be its whole owner.
      throw unauthenticated("Personal access tokens are for /functions/v1");
  }
}

function unauthenticated(message: string): RestError {
  return new RestError(401, "PGRST301", message);
}

function fromAppError(error: unknown): unknown {
  if (!(error instanceof AppError)) return error;
  if (error.code === "unauthenticated") {
    const expired = error.cause instanceof Error && error.cause.name === "JWTExpired";
    return expired
      ? new RestError(401, "PGRST303", "JWT expired", { cause: error })
      : new RestError(401, "PGRST301", error.message, { cause: error });
  }
  return new RestError(error.status, error.code, error.message, { cause: error.cause ?? error });
}

function relationOf(catalog: Catalog, name: string): Relation {
  const relation = catalog.relations.get(name);
  if (!relation) throw unknownTable(name);
  return relation;
}

/** The overload that takes these arguments, all of them; but in a URL what reads as a filter may be one. */
function chooseRoutine(catalog: Catalog, name: string, given: Given): Routine {
  const names = given.kind === "json" ? given.names : [...given.values.keys()];
  const mayFilter = (one: string) => given.kind === "text" && looksLikeFilter(given.values.get(one) ?? "");
  const used = (routine: Routine) => routine.arguments.filter((one) => names.includes(one.name)).length;
  const fitting = (catalog.routines.get(name) ?? []).filter(
    (routine) =>
      routine.arguments.every((argument) => !argument.required || names.includes(argument.name)) &&
      names.every((one) => routine.arguments.some((argument) => argument.name === one) || mayFilter(one)),
  );
  const most = Math.max(...fitting.map(used));
  const [chosen, other] = fitting.filter((routine) => used(routine) === most);
  if (other) {
    throw new RestError(300, "PGRST203", `Could not choose the best candidate function for public.${name}`, {
      hint: "Try renaming the parameters or the function itself, so that overloads can be told apart",
    });
  }
  if (chosen) return chosen;
  const shown =
    names.length > 0 ? `public.${name}(${names.join(", ")})` : `public.${name} without parameters`;
  throw new UnknownNameError(404, "PGRST202", `Could not find the function ${shown} in the schema cache`, {
    details: `Searched for the function ${shown}, but no matches were found in the schema cache.`,
  });
}

function limited(query: Query, rangeHeader: string | undefined): Query {
  const range = parseRange(rangeHeader ?? null);
  const offset = Math.max(query.offset, range?.offset ?? 0);
  const ends = [
    query.limit === undefined ? undefined : query.offset + query.limit,
    range?.limit === undefined ? undefined : range.offset + range.limit,
  ].filter((end) => end !== undefined);
  const limit = Math.min(maxRows, ...ends.map((end) => Math.max(0, end - offset)));
  return { ...query, offset, limit };
}

function shapeOf({ media, preferences }: Wanted, representation: boolean): Shape {
  return {
    counted: preferences.counted,
    representation,
    single: media.single,
    stripNulls: media.stripNulls,
  };
}

function rowsOf(body: JsonBody | undefined): Pick<Inserted, "json" | "rows"> {
  if (body === undefined) throw new RestError(400, "PGRST102", "Empty or invalid json");
  const rows: unknown[] = Array.isArray(body.value) ? body.value : [body.value];
  if (!rows.every(isRecord)) {
    throw new RestError(400, "PGRST102", "The body must be an object or an array of objects");
  }
  return { json: Array.isArray(body.value) ? body.text : `[${body.text}]`, rows };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function pageResponse(c: RestContext, request: Wanted, { offset }: Query, answer: Answer): Response {
  const { rows, total } = answer;
  if (total !== undefined && offset > total) {
    c.header("content-range", `*/${total}`);
    throw new RestError(416, "PGRST103", "Requested range not satisfiable", {
      details: `An offset of ${offset} was requested, but there are only ${total} rows.`,
    });
  }
  c.header("content-range", contentRange(offset, rows, total));
  return respond(c, request, total !== undefined && rows < total ? 206 : 200, answer.body);
}

function respond(
  c: RestContext,
  { media, method, preferences: { applied } }: Wanted,
  status: 200 | 201 | 204 | 206,
  body: string | null,
): Response {
  if (applied.length > 0) c.header("preference-applied", applied.join(", "));
  c.header("content-profile", "public");
  if (method === "HEAD" || body !== null) c.header("content-type", `${media.name}; charset=utf-8`);
  if (body === null || status === 204) return c.body(null, status);
  return c.body(body, status);
}
