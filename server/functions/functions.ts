import { Hono } from "hono";
import { createStripe } from "../../supabase/functions/_shared/billing/stripe.ts";
import type { LanguageModel } from "../../supabase/functions/_shared/prompts/language-model.ts";
import { createPromptWriter } from "../../supabase/functions/_shared/prompts/prompt-writer.ts";
import { checkoutSettings } from "../../supabase/functions/_shared/billing/variables.ts";
import { connect, type Database } from "../../supabase/functions/_shared/database/database.ts";
import { AppError } from "../../supabase/functions/_shared/errors/app-error.ts";
import { corsHeaders } from "../../supabase/functions/_shared/http/cors.ts";
import { bind, type Environment, errorResponse, idOf } from "../../supabase/functions/_shared/http/bind.ts";
import { openApi } from "../../supabase/functions/_shared/http/openapi.ts";
import { createProcessLimit } from "../../supabase/functions/_shared/limits/process-limit.ts";
import { createStorage } from "../../supabase/functions/_shared/media/storage.ts";
import { serviceRequestsPerMinute } from "../../supabase/functions/_shared/runtime/environment.ts";
import { createProviderRuns } from "../../supabase/functions/_shared/runtime/provider-runs.ts";
import type { WaitingRoom } from "../../supabase/functions/_shared/waiting/waiting-room.ts";
import { createFalAccess } from "../../supabase/functions/_shared/providers/fal-access.ts";
import { createFalWebhooks } from "../../supabase/functions/_shared/providers/fal-webhook.ts";
import type { WebhookSender } from "../../supabase/functions/_shared/webhooks/sender.ts";
import type { HostContext } from "../context.ts";
import { hostIdentifier } from "../identifier.ts";
import { endpoints } from "./registry.ts";

/** The storage service of this process, mounted relative to `/storage/v1`. */
interface StorageService {
  app: Hono;
}

export interface Functions {
  app: Hono;
  openapi: Record<string, unknown>;
  database: Pick<Database, "call" | "ping" | "lastAnswer">;
  models: LanguageModel;
  /** The storage service, as functions use it. */
  storage: Environment["storage"];
  stop(): Promise<void>;
}

/** Serves every endpoint under its name, in either spelling (`-` and `_`). */
export function createFunctions(
  context: HostContext,
  storage: StorageService,
  waitingRoom: WaitingRoom,
  webhooks: WebhookSender,
): Functions {
  const environment = hostEnvironment(context, storage, waitingRoom, webhooks);
  const handlers = new Map(
    endpoints.map((served) => [spelling(served.contract.name), bind(served, environment)]),
  );
  const app = new Hono();
  app.all("/:name", (c) => {
    const handler = handlers.get(spelling(c.req.param("name")));
    if (handler) return handler(c.req.raw);
    const response = errorResponse(new AppError("not_found"), idOf(c.req.raw), "functions", context.log);
    for (const [name, value] of Object.entries(corsHeaders)) response.headers.set(name, value);
    return response;
  });
  return {
    app,
    openapi: openApi(endpoints, context.apiUrl),
    database: environment.database,
    models: environment.promptWriter.model,
    storage: environment.storage,
    stop: () => environment.database.close(),
  };
}

function spelling(name: string): string {
  return name.replaceAll("_", "-");
}

function hostEnvironment(
  context: HostContext,
  storage: StorageService,
  waitingRoom: WaitingRoom,
  webhooks: WebhookSender,
): Environment {
  const { apiUrl, databaseUrl, keys, log } = context;
  const mounted = new Hono().route("/storage/v1", storage.app);
  // Storage runs in this process: a call needs no socket.
  const fetchStorage: typeof fetch = async (input, init) => await mounted.fetch(new Request(input, init));
  const environment: Environment = {
    database: connect({ url: databaseUrl, name: "darkroom-functions" }),
    identifier: hostIdentifier(context),
    storage: createStorage({
      publicUrl: apiUrl,
      serviceKey: keys.serviceRoleKey,
      fetch: fetchStorage,
    }),
    webhooks,
    stripe: createStripe(context.billing ?? {}),
    promptWriter: createPromptWriter(context.prompts ?? {}, { log }),
    fal: createFalWebhooks(context.fal ?? {}),
    falQueue: createFalAccess(context.fal ?? {}),
    providerRuns: undefined,
    checkout: checkoutSettings(context.billing ?? {}),
    receiptSeller: context.billing?.RECEIPT_SELLER,
    processLimit: createProcessLimit(),
    serviceRequestsPerMinute,
    waitingRoom,
    log,
    checkAnswers: context.checkAnswers,
  };
  const providerRuns = createProviderRuns({
    variables: context.fal ?? {},
    apiUrl,
    serviceKey: keys.serviceRoleKey,
    environment,
    fetch: fetchStorage,
  });
  return { ...environment, providerRuns };
}
