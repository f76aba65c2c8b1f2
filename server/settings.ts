import path from "node:path";
import {
  type BillingVariables,
  readBillingVariables,
} from "../supabase/functions/_shared/billing/variables.ts";
import {
  type PromptVariables,
  readPromptVariables,
} from "../supabase/functions/_shared/prompts/variables.ts";
import {
  falRouting,
  type FalVariables,
  readFalVariables,
} from "../supabase/functions/_shared/providers/variables.ts";
import { keyList } from "../supabase/functions/_shared/runtime/environment.ts";
import type { GivenKeys } from "./keys.ts";
import type { S3Settings } from "./storage/s3-store.ts";

export interface Settings {
  port: number;
  /** Address to listen on: this machine alone, unless `HOST` says otherwise. */
  hostname: string;
  dataDirectory: string;
  /** A PostgreSQL of the operator's; our own when undefined. */
  databaseUrl: string | undefined;
  /** How the outside calls this host, where that is not its own address. */
  apiUrl: string | undefined;
  keys: GivenKeys;
  /** An S3-compatible store for the files; the data folder when undefined. */
  s3: S3Settings | undefined;
  localWorker: boolean;
  /** Whether the local worker's sandbox runs; undefined: where nothing real is configured. */
  sandbox: boolean | undefined;
  /** Holds every answer of the functions against its contract. */
  checkAnswers: boolean;
  /** Whether this host delivers webhooks. */
  webhooks: boolean;
  /** Lets webhooks go to http and private addresses. */
  webhooksAllowPrivate: boolean;
  billing: BillingVariables;
  prompts: PromptVariables;
  fal: FalVariables;
  /** Whether tasks run at FAL that cost more there than they are sold for; undefined: as the database has it. */
  falAllowLoss: boolean | undefined;
  /** Whether this host charges automatic top-ups. */
  autoTopups: boolean;
  /** How long `/ready` fails before connections close when the host stops. */
  stopDelayMilliseconds: number;
  logLevel: string;
}

export interface CommandLine {
  port?: string | undefined;
  data?: string | undefined;
}

/** Settings from the command line, which wins, and the environment, under the names that Supabase uses. */
export function readSettings(commandLine: CommandLine, environment: NodeJS.ProcessEnv): Settings {
  // What is set to nothing is not set: `.env` files list names without values.
  const value = (name: string): string | undefined => environment[name]?.trim() || undefined;
  return {
    port: portNumber(commandLine.port ?? value("PORT") ?? "54321"),
    hostname: value("HOST") ?? "127.0.0.1",
    dataDirectory: path.resolve(commandLine.data ?? value("DARKROOM_DATA") ?? ".darkroom"),
    databaseUrl: value("DATABASE_URL"),
    apiUrl: value("SUPABASE_URL")?.replace(/\/+$/, ""),
    keys: {
      jwtSecret: value("SUPABASE_JWT_SECRET"),
      anonKey: value("SUPABASE_ANON_KEY"),
      serviceRoleKey: value("SUPABASE_SERVICE_ROLE_KEY"),
      publishableKey: keyList(value("SUPABASE_PUBLISHABLE_KEYS"))[0],
      secretKey: keyList(value("SUPABASE_SECRET_KEYS"))[0],
    },
    s3: s3Settings(value),
    localWorker: value("DARKROOM_WORKER")?.toLowerCase() !== "off",
    sandbox: onOrOff("DARKROOM_SANDBOX", value("DARKROOM_SANDBOX")),
    checkAnswers: value("DARKROOM_CHECK_ANSWERS")?.toLowerCase() === "on",
    webhooks: value("DARKROOM_WEBHOOKS")?.toLowerCase() !== "off",
    webhooksAllowPrivate: value("DARKROOM_WEBHOOKS_ALLOW_PRIVATE")?.toLowerCase() === "on",
    billing: readBillingVariables(value),
    prompts: readPromptVariables(value),
    fal: falSettings(value),
    falAllowLoss: onOrOff("DARKROOM_FAL_ALLOW_LOSS", value("DARKROOM_FAL_ALLOW_LOSS")),
    autoTopups: value("DARKROOM_AUTO_TOPUPS")?.toLowerCase() !== "off",
    stopDelayMilliseconds: stopDelay(value("DARKROOM_STOP_DELAY_MS") ?? "500"),
    logLevel: value("LOG_LEVEL") ?? "info",
  };
}

/** A switch whose default depends on other settings. */
function onOrOff(name: string, text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  const given = text.toLowerCase();
  if (given !== "on" && given !== "off") throw new Error(`${name} must be on or off, not "${text}".`);
  return given === "on";
}

/** Our own names first, then those that AWS's tools share. */
function s3Settings(value: (name: string) => string | undefined): S3Settings | undefined {
  const bucket = value("DARKROOM_S3_BUCKET");
  if (!bucket) return undefined;
  const region = value("DARKROOM_S3_REGION") ?? value("AWS_REGION") ?? "us-east-1";
  // A session's token belongs to AWS's key, so the three go together.
  const isOwnKey = value("DARKROOM_S3_ACCESS_KEY_ID") !== undefined;
  const accessKeyId = value(isOwnKey ? "DARKROOM_S3_ACCESS_KEY_ID" : "AWS_ACCESS_KEY_ID");
  const secretAccessKey = value(isOwnKey ? "DARKROOM_S3_SECRET_ACCESS_KEY" : "AWS_SECRET_ACCESS_KEY");
  const sessionToken = isOwnKey ? undefined : value("AWS_SESSION_TOKEN");
  if (!accessKeyId || !secretAccessKey) {
    throw new Error("DARKROOM_S3_BUCKET needs DARKROOM_S3_ACCESS_KEY_ID and DARKROOM_S3_SECRET_ACCESS_KEY.");
  }
  const endpoint = value("DARKROOM_S3_ENDPOINT") ?? `https://s3.${region}.amazonaws.com`;
  if (!/^https?:\/\/[^/]/.test(endpoint)) throw new Error(`"${endpoint}" is not the URL of an S3 endpoint.`);
  return { endpoint, bucket, region, accessKeyId, secretAccessKey, sessionToken };
}

function falSettings(value: (name: string) => string | undefined): FalVariables {
  const variables = readFalVariables(value);
  const { FAL_CONCURRENCY: concurrency } = variables;
  if (concurrency !== undefined && !/^([1-9]|[1-5]\d|6[0-4])$/.test(concurrency)) {
    throw new Error(`FAL_CONCURRENCY takes 1 to 64, not "${concurrency}".`);
  }
  const seconds = variables.FAL_RUN_SECONDS;
  if (seconds !== undefined && !(/^[1-9]\d{0,3}$/.test(seconds) && Number(seconds) <= 3600)) {
    throw new Error(`FAL_RUN_SECONDS takes 1 to 3600, not "${seconds}".`);
  }
  for (const name of ["FAL_QUEUE_URL", "FAL_REST_URL", "FAL_JWKS_URL", "FAL_WEBHOOK"] as const) {
    const url = variables[name];
    if (url !== undefined && !/^https?:\/\/[^/]/.test(url)) throw new Error(`${name} is no URL: "${url}".`);
  }
  falRouting(variables);
  return variables;
}

/** The limit leaves enough of the 10 s of a stop to the requests and the database. */
function stopDelay(text: string): number {
  const milliseconds = Number(text);
  if (!/^\d+$/.test(text) || milliseconds > 3_000)
    throw new Error(`DARKROOM_STOP_DELAY_MS must be between 0 and 3000, not "${text}".`);
  return milliseconds;
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new Error(`"${text}" is not a port.`);
  return port;
}
