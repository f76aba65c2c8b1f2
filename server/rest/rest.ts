import { type Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Identity } from "../../supabase/functions/_shared/auth/identify.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { idOf } from "../../supabase/functions/_shared/http/bind.ts";
import { corsHeaders } from "../../supabase/functions/_shared/http/cors.ts";
import type { HostContext } from "../context.ts";
import { hostIdentifier } from "../identifier.ts";
import { type Listener, startListener } from "../postgres/listener.ts";
import type { Shape } from "./build-answer.ts";
import {
  buildCall,
  buildDelete,
  buildInsert,
  buildPut,
  buildRead,
  buildUpdate,
  type Inserted,
  maxRows,
} from "./build-sql.ts";
import { type Catalog, type CatalogCache, createCatalogCache, type Relation } from "./catalog.ts";
import { chooseByBody, chooseByUrl, type Chosen } from "./choose-routine.ts";
import { type Answer, createExecutor, type DatabaseCaller, type Wanted } from "./execute.ts";
import { parseQuery, reservedParameters } from "./parse-query.ts";
import {
  contentRange,
  type MediaType,
  pageOf,
  parseAccept,
  parsePreferences,
  parseRange,
  readPreferences,
  requirePublicSchema,
  unsatisfiable,
} from "./preferences.ts";
import type { Query } from "./query.ts";
import { type JsonBody, readCallBody, readJson } from "./read-body.ts";
import {
  isUnwritable,
  RestError,
  restErrorOf,
  speaksOfStaleSchema,
  UnknownNameError,
  unknownTable,
} from "./rest-error.ts";
import type { Statement } from "./sql-text.ts";

const bodyLimitBytes = 5 * 1024 * 1024;
const maxUrlLength = 40_000;

interface RestVariables {
  Variables: { requestId: string; role: DatabaseCaller["role"] };
}

type RestContext = Context<RestVariables>;

/** PostgREST's interface to `public`, relative to `/rest/v1`. What a caller may do is for grants and policies to say. */
export function createRest(context: HostContext): { app: Hono; stop(): Promise<void> } {
  const identifier = hostIdentifier(context);
  const catalogs = createCatalogCache(context.sql);
  const listener = followSchema(context, catalogs);
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
    if (refused.status === 499) {
      context.log.info({ request_id: c.get("requestId") }, refused.code);
    } else if (refused.status >= 500) {
      context.log.error(
        { request_id: c.get("requestId"), err: refused.cause ?? refused },
        "rest request failed",
      );
    }
    if (refused.status === 401) c.header("www-authenticate", "Bearer");
    if (refused.status === 503 || refused.status === 429) c.header("retry-after", "1");
    c.header("content-type", "application/json; charset=utf-8");
    const { code, message, details, hint, headers } = refused;
    for (const [name, value] of Object.entries(headers)) c.header(name, value);
    return c.body(JSON.stringify({ code, message, details, hint }), refused.status as ContentfulStatusCode);
  });

  app.options("*", (c) => {
    c.header("access-control-allow-methods", "GET, HEAD, POST, PATCH, PUT, DELETE, OPTIONS");
    return c.body(null, 204);
  });

  async function wanted(c: RestContext, path: string): Promise<Wanted> {
    const { headers } = c.req.raw;
    // The gateway in front of Supabase wants a key of the project beside whatever else is sent.
    if (!headers.has("apikey")) throw unauthenticated("No API key found in request");
    await identifier.identify(new Headers({ apikey: headers.get("apikey") ?? "" }));
    const caller = databaseCaller(await identifier.identify(headers));
    c.set("role", caller.role);
    requirePublicSchema(c.req.method, headers);
    if (c.req.url.length > maxUrlLength) {
      throw new RestError(414, "PGRST100", `The URL is longer than ${maxUrlLength} characters`, {
        hint: "Ask in several requests, or send long lists as arguments of a function.",
      });
    }
    return {
      url: new URL(c.req.url),
      caller,
      media: parseAccept(headers.get("accept")),
      preferences: parsePreferences(headers.get("prefer")),
      path,
      method: c.req.method,
      headers,
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
    const query = paged(parseQuery(request.url.searchParams), c.req.header("range"));
    const shape = shapeOf(request, request.method !== "HEAD");
    const answer = await withCatalog((catalog) =>
      execute(buildRead(catalog, relationOf(catalog, table), query, shape), request, "read only"),
    );
    return pageResponse(c, request, query, answer);
  }

  async function writeTable(c: RestContext, write: Write): Promise<Response> {
    const table = c.req.param("table") ?? "";
    const request = await wanted(c, `/${table}`);
    const query = parseQuery(request.url.searchParams);
    const build = await write.prepare(request);
    const { returning, counted } = request.preferences;
    const isRepresented = returning === "representation";
    const { answer, location } = await withCatalog(async (catalog) => {
      const relation = relationOf(catalog, table);
      const key = write.isInsert && returning === "headers-only" ? relation.primaryKey : [];
      const shape = shapeOf(request, isRepresented || key.length > 0);
      const statement =
        key.length > 0
          ? build(catalog, relation, { ...query, select: key.map(asText), order: [] }, { ...shape, ...plain })
          : build(catalog, relation, query, shape);
      const written = await execute(statement, request, "read write").catch((error: unknown) => {
        throw refusedWrite(error, relation);
      });
      return key.length > 0
        ? { answer: { ...written, body: null }, location: locationOf(table, written.body) }
        : { answer: written, location: undefined };
    });
    if (location !== undefined) c.header("location", location);
    const total = counted ? answer.total : undefined;
    const range = write.rangeOf?.(answer, total);
    if (range !== undefined) c.header("content-range", range);
    return respond(c, request, write.statusOf(answer, isRepresented, request), answer.body);
  }

  app.get("/:table", readTable);

  app.post("/:table", (c) =>
    writeTable(c, {
      isInsert: true,
      async prepare({ preferences: { resolution, missingAsDefault } }) {
        const body = { ...rowsOf(await readJson(c.req.raw, bodyLimitBytes)), resolution, missingAsDefault };
        return (catalog, relation, query, shape) => buildInsert(catalog, relation, query, body, shape);
      },
      // Nothing was created if every row was there before.
      statusOf: ({ total = 0, merged }, _represented, { preferences: { resolution } }) =>
        resolution === "merge" && merged === total ? 200 : 201,
      rangeOf: (_answer, total) => contentRange(0, 0, total),
    }),
  );

  app.put("/:table", (c) =>
    writeTable(c, {
      async prepare() {
        const rows = rowsOf(await readJson(c.req.raw, bodyLimitBytes));
        const body: Inserted = { ...rows, resolution: "merge", missingAsDefault: false };
        return (catalog, relation, query, shape) => buildPut(catalog, relation, query, body, shape);
      },
      statusOf: ({ merged }, isRepresented) => (!isRepresented ? 204 : merged > 0 ? 200 : 201),
    }),
  );

  app.patch("/:table", (c) =>
    writeTable(c, {
      async prepare({ preferences: { missingAsDefault } }) {
        const body = { ...rowsOf(await readJson(c.req.raw, bodyLimitBytes)), missingAsDefault };
        if (body.rows.length > 1) throw new RestError(400, "PGRST102", "An update takes one object");
        return (catalog, relation, query, shape) => buildUpdate(catalog, relation, query, body, shape);
      },
      statusOf: changedStatus,
      rangeOf: (answer, total) => contentRange(0, answer.total ?? 0, total),
    }),
  );

  app.delete("/:table", (c) =>
    writeTable(c, {
      prepare: () => Promise.resolve(buildDelete),
      statusOf: changedStatus,
      rangeOf: (_answer, total) => contentRange(0, 0, total),
    }),
  );

  async function callFunction(
    c: RestContext,
    access: "read only" | "read write",
    chooserOf: (request: Wanted, name: string) => Promise<(catalog: Catalog) => Chosen>,
  ): Promise<Response> {
    const name = c.req.param("function") ?? "";
    const request = await wanted(c, `/rpc/${name}`);
    const choose = await chooserOf(request, name);
    const shape = shapeOf(request, request.method !== "HEAD");
    return await withCatalog(async (catalog) => {
      const { routine, given } = choose(catalog);
      const isArgument = (key: string) =>
        given.kind === "text" &&
        routine.arguments.some((argument) => argument.name === key) &&
        given.values.has(key);
      const query = paged(parseQuery(request.url.searchParams, isArgument), c.req.header("range"));
      const statement = buildCall(catalog, routine, given, query, shape);
      const answer = await execute(statement, request, access, routine);
      if (routine.returns !== "void") return pageResponse(c, request, query, answer);
      c.header("content-range", contentRange(0, answer.rows, undefined));
      return respond(c, request, 204, null);
    });
  }

  app.get("/rpc/:function", (c) =>
    callFunction(c, "read only", ({ url }, name) => {
      const values = new Map<string, string[]>();
      for (const [key, value] of url.searchParams) {
        if (!reservedParameters.has(key)) values.set(key, [...(values.get(key) ?? []), value]);
      }
      return Promise.resolve((catalog) => chooseByUrl(catalog, name, values));
    }),
  );

  app.post("/rpc/:function", (c) =>
    callFunction(c, "read write", async (_request, name) => {
      const body = await readCallBody(c.req.raw, bodyLimitBytes);
      return (catalog) => chooseByBody(catalog, name, body);
    }),
  );

  app.all("/:table", (c) => {
    throw new RestError(405, "PGRST117", `Unsupported HTTP method: ${c.req.method}`);
  });
  app.all("/rpc/:function", (c) => {
    throw new RestError(405, "PGRST101", `Cannot use the ${c.req.method} method on RPC`);
  });
  app.all("*", () => {
    throw new RestError(404, "PGRST125", "Invalid path specified in request URL");
  });

  // Variables of requests are nobody else's.
  return { app: new Hono().route("/", app), stop: () => listener.stop() };
}

/** Listens for new schemas as PostgREST does: `notify pgrst, 'reload schema'`, which migrations send. */
function followSchema({ databaseUrl, log }: HostContext, catalogs: CatalogCache): Listener {
  return startListener({
    url: databaseUrl,
    channel: "pgrst",
    onNotification: (payload) => {
      if (payload === "" || payload === "reload schema") catalogs.forget();
    },
    onConnect: () => catalogs.forget(),
    // Without it, a new schema is noticed when something unknown is asked for.
    onError: (error) => log.warn({ err: error }, "changes of the schema are not listened for at the moment"),
  });
}

type Build = (catalog: Catalog, relation: Relation, query: Query, shape: Shape) => Statement;

/** What differs between the ways to write. */
interface Write {
  isInsert?: boolean;
  prepare(request: Wanted): Promise<Build>;
  statusOf(answer: Answer, isRepresented: boolean, request: Wanted): 200 | 201 | 204;
  rangeOf?(answer: Answer, total: number | undefined): string;
}

function changedStatus(_answer: Answer, isRepresented: boolean): 200 | 204 {
  return isRepresented ? 200 : 204;
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

/** A view that cannot be written is a method that is not allowed there; PostgREST makes it a failure of its own, 500. */
function refusedWrite(error: unknown, { writes, primaryKey }: Relation): unknown {
  if (!isUnwritable(error) || (writes.insert && writes.update && writes.delete)) return error;
  const allowed = [
    "GET",
    "HEAD",
    ...(writes.insert ? ["POST"] : []),
    ...(writes.insert && writes.update && primaryKey.length > 0 ? ["PUT"] : []),
    ...(writes.update ? ["PATCH"] : []),
    ...(writes.delete ? ["DELETE"] : []),
    "OPTIONS",
  ];
  const { code, message, detail, hint } = error;
  return new RestError(405, code, message, {
    details: detail ?? null,
    hint: hint ?? null,
    headers: { allow: allowed.join(", ") },
    cause: error,
  });
}

function relationOf(catalog: Catalog, name: string): Relation {
  const relation = catalog.relations.get(name);
  if (!relation) throw unknownTable(name);
  return relation;
}

function paged(query: Query, rangeHeader: string | undefined): Query {
  return { ...query, ...pageOf(query, parseRange(rangeHeader ?? null), maxRows) };
}

function shapeOf({ media, preferences }: Wanted, representation: boolean): Shape {
  return {
    counted: preferences.counted,
    representation,
    single: media.single,
    stripNulls: media.stripNulls,
    csv: media.name === "text/csv",
  };
}

/** The shape in which keys of new rows are read, whatever the client accepts. */
const plain = { single: false, stripNulls: false, csv: false };

function asText(name: string): Query["select"][number] {
  return { kind: "field", field: { name, path: [] }, alias: undefined, cast: "text" };
}

/** Where the one new row is to be found, by its primary key. */
function locationOf(table: string, keys: string | null): string | undefined {
  const rows = JSON.parse(keys ?? "[]") as Record<string, string>[];
  const [key] = rows;
  if (!key || rows.length !== 1) return undefined;
  const filters = Object.entries(key).map(([name, value]) => [name, `eq.${value}`]);
  return `/${encodeURIComponent(table)}?${new URLSearchParams(filters).toString()}`;
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
    throw unsatisfiable(`An offset of ${offset} was requested, but there are only ${total} rows.`);
  }
  c.header("content-range", contentRange(offset, rows, total));
  return respond(c, request, total !== undefined && rows < total ? 206 : 200, answer.body);
}

function typeOf({ name, stripNulls }: MediaType): string {
  return `${name}${stripNulls ? ";nulls=stripped" : ""}; charset=utf-8`;
}

function respond(
  c: RestContext,
  { media, method, path, preferences: { applied } }: Wanted,
  status: 200 | 201 | 204 | 206,
  body: string | null,
): Response {
  const reads = method === "GET" || method === "HEAD" || path.startsWith("/rpc/");
  const heeded = [...applied].filter(([name]) => !reads || readPreferences.has(name));
  if (heeded.length > 0) {
    c.header("preference-applied", heeded.map(([name, value]) => `${name}=${value}`).join(", "));
  }
  c.header("content-profile", "public");
  if (method === "HEAD" || body !== null) c.header("content-type", typeOf(media));
  if (body === null || status === 204) return c.body(null, status);
  return c.body(body, status);
}
