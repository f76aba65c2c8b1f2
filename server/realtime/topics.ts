import { randomUUID } from "node:crypto";
import {
  type BroadcastContent,
  encodeMessage,
  OutgoingBroadcast,
  type ProtocolVersion,
} from "./phoenix-frames.ts";

/** Whoever hears a topic: one channel of one socket. */
export interface Subscriber {
  readonly version: ProtocolVersion;
  readonly hearsBroadcasts: boolean;
  readonly hearsPresence: boolean;
  send(frame: string | Buffer): void;
}

/** Public and private channels of one name are two topics: what is sent to one never reaches the other. */
export interface TopicName {
  name: string;
  private: boolean;
}

export type PresenceMeta = Record<string, unknown> & { phx_ref: string };
type PresenceState = Record<string, { metas: PresenceMeta[] }>;

interface Topic {
  subscribers: Set<Subscriber>;
  /** Who is present: by key, which several may share, and by the channel that said so. */
  present: Map<string, Map<Subscriber, PresenceMeta>>;
}

/** The topics that sockets of this process listen to. */
export class Topics {
  readonly #topics = new Map<string, Topic>();

  add(name: TopicName, subscriber: Subscriber): void {
    let topic = this.#topics.get(keyOf(name));
    if (!topic) this.#topics.set(keyOf(name), (topic = { subscribers: new Set(), present: new Map() }));
    topic.subscribers.add(subscriber);
  }

  remove(name: TopicName, subscriber: Subscriber): void {
    const topic = this.#topics.get(keyOf(name));
    if (!topic?.subscribers.delete(subscriber)) return;
    for (const key of topic.present.keys()) this.untrack(name, key, subscriber);
    if (topic.subscribers.size === 0) this.#topics.delete(keyOf(name));
  }

  broadcast(name: TopicName, content: BroadcastContent, except?: Subscriber): void {
    const topic = this.#topics.get(keyOf(name));
    if (!topic) return;
    const outgoing = new OutgoingBroadcast(`realtime:${name.name}`, content);
    for (const subscriber of topic.subscribers) {
      if (subscriber === except || !subscriber.hearsBroadcasts) continue;
      const frame = outgoing.frame(subscriber.version);
      if (frame !== undefined) subscriber.send(frame);
    }
  }

  track(name: TopicName, key: string, subscriber: Subscriber, payload: Record<string, unknown>): void {
    const topic = this.#topics.get(keyOf(name));
    if (!topic) return;
    let metas = topic.present.get(key);
    if (!metas) topic.present.set(key, (metas = new Map()));
    const before = metas.get(subscriber);
    const meta: PresenceMeta = {
      ...payload,
      phx_ref: randomUUID(),
      ...(before ? { phx_ref_prev: before.phx_ref } : {}),
    };
    metas.set(subscriber, meta);
    pushDiff(name, topic, state([[key, [meta]]]), before ? state([[key, [before]]]) : {});
  }

  untrack(name: TopicName, key: string, subscriber: Subscriber): void {
    const topic = this.#topics.get(keyOf(name));
    const metas = topic?.present.get(key);
    const meta = metas?.get(subscriber);
    if (!topic || !metas || !meta) return;
    metas.delete(subscriber);
    if (metas.size === 0) topic.present.delete(key);
    pushDiff(name, topic, {}, state([[key, [meta]]]));
  }

  presence(name: TopicName): PresenceState {
    const present =
      this.#topics.get(keyOf(name))?.present ?? new Map<string, Map<Subscriber, PresenceMeta>>();
    return state([...present].map(([key, metas]) => [key, [...metas.values()]]));
  }
}

function pushDiff(
  { name }: TopicName,
  { subscribers }: Topic,
  joins: PresenceState,
  leaves: PresenceState,
): void {
  const message = { topic: `realtime:${name}`, event: "presence_diff", payload: { joins, leaves } };
  const frames = new Map<ProtocolVersion, string>();
  for (const subscriber of subscribers) {
    if (!subscriber.hearsPresence) continue;
    const frame = frames.get(subscriber.version) ?? encodeMessage(subscriber.version, message);
    frames.set(subscriber.version, frame);
    subscriber.send(frame);
  }
}

function keyOf({ name, private: isPrivate }: TopicName): string {
  return `${isPrivate ? "private" : "public"}:${name}`;
}

/** Keys are the clients' choice; `fromEntries` makes even `__proto__` a key like any other. */
function state(entries: [key: string, metas: PresenceMeta[]][]): PresenceState {
  return Object.fromEntries(entries.map(([key, metas]) => [key, { metas }]));
}
