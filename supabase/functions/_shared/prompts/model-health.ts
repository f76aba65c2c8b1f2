/** A model that its provider does not serve (any more) to this key. */
export interface DeadModel {
  model: string;
  /** The provider's code, such as `model_not_found`. */
  reason: string;
  /** ISO 8601. */
  since: string;
}

/** Codes by which Groq and OpenAI say that a model is gone, or that this key may not use it. */
const deadCodes = new Set([
  "model_not_found",
  "model_decommissioned",
  "model_not_active",
  "model_permission_blocked_org",
  "model_permission_blocked_project",
]);

/** How long a dead model is asked last: it may be a matter of the key's rights, which an operator can set right. */
const restMilliseconds = 300_000;

/** Which models are dead, as their provider says; asked by each host, told to its operator. */
export class ModelHealth {
  readonly #dead = new Map<string, DeadModel & { askLastUntil: number }>();
  readonly #tell: (dead: DeadModel) => void;

  constructor(tell: (dead: DeadModel) => void) {
    this.#tell = tell;
  }

  /** Notes a refusal, if it says that the model is dead. Answers whether it does. */
  note(model: string, error: unknown): boolean {
    const reason = deathOf(error);
    if (reason === undefined) return false;
    this.markDead(model, reason);
    return true;
  }

  markDead(model: string, reason: string): void {
    const known = this.#dead.get(model);
    const dead = known ?? { model, reason, since: new Date().toISOString() };
    this.#dead.set(model, { ...dead, askLastUntil: Date.now() + restMilliseconds });
    if (!known) this.#tell({ model, reason, since: dead.since });
  }

  markAlive(model: string): void {
    this.#dead.delete(model);
  }

  /** The same models, those that are dead last. */
  ordered(models: readonly string[]): string[] {
    const rests = (model: string) => (this.#dead.get(model)?.askLastUntil ?? 0) > Date.now();
    return [...models.filter((model) => !rests(model)), ...models.filter(rests)];
  }

  list(): DeadModel[] {
    return [...this.#dead.values()].map(({ model, reason, since }) => ({ model, reason, since }));
  }
}

function deathOf(error: unknown): string | undefined {
  const status = fieldOf(error, "status");
  if (status !== 400 && status !== 403 && status !== 404) return undefined;
  // The SDK gives the body as `error`, whose error is the provider's.
  const code = fieldOf(fieldOf(fieldOf(error, "error"), "error"), "code") ?? fieldOf(error, "code");
  return typeof code === "string" && deadCodes.has(code) ? code : undefined;
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
