import { z } from "zod";
import { type ErrorCode, errorCodes } from "../errors/codes.ts";
import { commonErrors, type Contract, type Endpoint, methodsOf } from "./endpoint.ts";
import { closed, type ObjectSchema } from "./unknown-fields.ts";

type JsonObject = Record<string, unknown>;

/** All refusals of an endpoint: its own and everybody's. */
export function errorsOf(contract: Contract): ErrorCode[] {
  const common = contract.callers.includes("anyone")
    ? commonErrors.filter((code) => code !== "unauthenticated" && code !== "forbidden")
    : commonErrors;
  const ofFields: ErrorCode[] = contract.unknownFields === "refused" ? ["unknown_field"] : [];
  return [...new Set<ErrorCode>([...contract.errors, ...ofFields, ...common])];
}

/** Every status that an endpoint may answer with, in order. */
export function statusesOf(contract: Contract): number[] {
  const statuses = errorsOf(contract).map((code) => errorCodes[code].status);
  return [...new Set([...Object.keys(contract.answers).map(Number), ...statuses])].sort((a, b) => a - b);
}

/** OpenAPI 3.1 from the same contracts that validate and type the calls. */
export function openApi(endpoints: readonly Endpoint[], serverUrl: string): JsonObject {
  const paths = Object.fromEntries(
    endpoints.map(({ contract }) => [
      `/functions/v1/${contract.name}`,
      {
        post: operation(contract),
        ...(methodsOf(contract).includes("GET") && { get: queryOperation(contract) }),
      },
    ]),
  );
  return {
    openapi: "3.1.0",
    info: {
      title: "Darkroom",
      version: "0.1.0",
      description: "The backend of a generative-media studio: tasks, workers, generations, credits.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: serverUrl }],
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: "http",
          scheme: "bearer",
          description: "A user's JWT, a personal access token (`dr_pat_…`) or the legacy service key.",
        },
        apikey: {
          type: "apiKey",
          in: "header",
          name: "apikey",
          description: "A secret key (`sb_secret_…`). A publishable key alone authorises nothing.",
        },
      },
      schemas: { Error: errorSchema },
    },
  };
}

const errorSchema: JsonObject = {
  type: "object",
  required: ["error", "message", "request_id"],
  properties: {
    error: { type: "string", enum: Object.keys(errorCodes) },
    message: { type: "string" },
    request_id: { type: "string" },
  },
};

function operation(contract: Contract): JsonObject {
  const responses: JsonObject = {};
  for (const [status, { description, schema, otherTypes = [] }] of Object.entries(contract.answers)) {
    const others = otherTypes.map((type) => [type, { schema: { type: "string" } }] as const);
    responses[status] = {
      description,
      ...(schema && {
        content: {
          "application/json": { schema: jsonSchema(schema, "output") },
          ...Object.fromEntries(others),
        },
      }),
    };
  }
  for (const status of statusesOf(contract)) {
    const codes = errorsOf(contract).filter((code) => errorCodes[code].status === status);
    if (codes.length === 0) continue;
    responses[status] = {
      description: codes.map((code) => `\`${code}\`: ${errorCodes[code].message}`).join(" "),
      content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
    };
  }
  return {
    operationId: contract.name,
    summary: contract.summary,
    description: `Callers: ${contract.callers.join(", ")}.${contract.scope ? ` Token scope: \`${contract.scope}\`.` : ""}`,
    security: securityOf(contract),
    requestBody: {
      required: !contract.bodyOptional,
      content: { "application/json": { schema: bodySchema(contract) } },
    },
    responses,
  };
}

/** Which credentials open it; an empty requirement is OpenAPI's word for none. */
function securityOf({ callers }: Contract): JsonObject[] {
  if (callers.includes("anyone")) return [{}];
  return [{ bearer: [] }, ...(callers.includes("service") ? [{ apikey: [] }] : [])];
}

/** The same by GET: the body's fields as a query. */
function queryOperation(contract: Contract): JsonObject {
  const { requestBody: _body, ...rest } = operation(contract);
  const { properties = {} } = bodySchema(contract);
  const parameters = Object.entries(properties).map(([name, schema]) => ({ name, in: "query", schema }));
  return { ...rest, operationId: `${contract.name}-by-get`, parameters };
}

const bodySchemas = new WeakMap<Contract, ObjectSchema>();

/** The body that an endpoint takes, closed where unknown fields are refused. */
export function bodySchema(contract: Contract): ObjectSchema {
  let schema = bodySchemas.get(contract);
  if (!schema) {
    const open = jsonSchema(contract.body, "input") as ObjectSchema;
    schema = contract.unknownFields === "refused" ? closed(open) : open;
    bodySchemas.set(contract, schema);
  }
  return schema;
}

/** What JSON Schema can say of a shape. */
export function jsonSchema(schema: z.ZodType, io: "input" | "output"): JsonObject {
  const { $schema: _draft, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return rest;
}
