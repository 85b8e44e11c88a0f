/**
 * One request on its way: route, place, middleware, body, condition, function, answer.
 *
 *   arrived -> answered                            no route, other method, preflight, draining, line full
 *   arrived -> waiting -> running -> answered      every step of `running` can answer: middleware, a body
 *                                                  over the limit, the condition, a deadline, the function
 *   running -> streaming -> answered               the function writes the answer through a channel
 *   any -> gone                                    the client left: nothing is written, nothing more is called,
 *                                                  the call under way and both channels are given up
 *
 * Hot path: a request without body, middleware and condition reaches `host.invoke` in the turn in
 * which it arrived and makes one promise chain. Guarded by the HTTP rows of the benchmarks.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ErrorCode, Payload, type ErrorBody } from '@trine/protocol';
import type { Outcome, WorkerHost } from '../../core/worker-host.js';
import { errorAnswer, timedOut, tooLarge, unavailable, type Answer } from './answer.js';
import type { Channel } from '../../core/channel.js';
import { bodyJson, hasBody, isJson, readBody } from './body.js';
import { HttpCode } from './errors.js';
import type { Limiter } from './limiter.js';
import type { Listening } from './listener.js';
import { Reply, type ReplyEnd, type ReplyParts } from './reply.js';
import { HeldBody, StreamedBody } from './request-body.js';
import { headersJson, pathParamsJson, queryJson } from './request-parts.js';
import type { StreamHead } from './stream-head.js';
import { handlerAnswer, isRecord, middlewareAnswer, type OnBadHeader } from './response.js';
import type { Route } from './route.js';
import { PRE_HANDLER, type Snapshot } from './snapshot.js';
import { writeAnswer, writeStreamHead } from './write-answer.js';

/** `00-<trace id>-<span id>-<flags>` (W3C Trace Context, section 3.2). */
const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}/;
/** 48 random bits, as long as the ids of the reference. */
const ERROR_ID_BYTES = 6;

/** Channels of a request end with it. */
const MANAGED = { isManaged: true } as const;
/** After the answer, the rest of a body that nobody reads may come for this long before the client is cut, in milliseconds. */
const UNREAD_BODY_MS = 30_000;

/** How a step ended: with an answer, or `undefined` = go on. `gone` = the client left. */
type Step = Answer | 'gone' | undefined;
/** How the last one did. `streaming` = the answer is being written. */
type End = Answer | 'gone' | 'streaming';

/** What an exchange needs of the one it came through. */
export interface ExchangeParts {
  readonly host: WorkerHost;
  readonly limiter: Limiter;
  /** True once new requests are refused: connections close with their answer. */
  readonly draining: boolean;
  /** Told when the exchange is over. */
  closed(): void;
}

export class Exchange implements ReplyParts {
  readonly #deadline: number;
  readonly #traceparent: string | undefined;
  readonly #baggage: string | undefined;
  /** JSON texts of the parts that middleware and function both receive; made when first needed. */
  #query = '';
  #params = '';
  #headersText = '';
  #body = 'null';
  /** A body that was read whole. */
  #held: Buffer | undefined;
  #requestChannel: Channel | undefined;
  #responseChannel: Channel | undefined;
  /** What middleware added for those after it. */
  #context: Map<string, unknown> | undefined;
  #finished = false;

  constructor(
    private readonly gateway: ExchangeParts,
    private readonly req: IncomingMessage,
    private readonly res: ServerResponse,
    private readonly snapshot: Snapshot,
    private readonly headers: ReadonlyMap<string, string>,
    private readonly path: string,
    private readonly rawQuery: string,
    private readonly method: string,
    private readonly listener: Listening,
  ) {
    this.#deadline = gateway.host.clock.monotonic() + snapshot.timeoutMs;
    const traceparent = headers.get('traceparent');
    this.#traceparent = traceparent !== undefined && TRACEPARENT.test(traceparent) ? traceparent : undefined;
    this.#baggage = headers.get('baggage') || undefined;
  }

  async run(route: Route, taken: readonly string[]): Promise<void> {
    const { limiter, host } = this.gateway;
    let holdsPlace = false;
    try {
      if (this.#remainingMs <= 0) return this.finish(timedOut());
      if (!limiter.tryEnter()) {
        const gone = new AbortController();
        this.res.once('close', () => gone.abort());
        const grant = await limiter.enter(host.clock, this.#remainingMs, gone.signal);
        if (grant === 'late') return this.finish(timedOut());
        if (grant === 'refused') return this.finish(unavailable('Too many requests are waiting'));
        holdsPlace = grant !== 'gone';
        // Nobody would hear of its end any more.
        if (grant === 'gone' || this.#clientLeft) return this.#leave();
      }
      holdsPlace = true;
      const step = await this.#handle(route, taken);
      if (step === 'gone') this.#leave();
      else if (step !== 'streaming') this.finish(step);
    } catch (error) {
      // Nothing above is supposed to throw: whatever does must not take the server down.
      this.finish(this.#failed(route, { code: HttpCode.internal, message: 'internal server error' }, error));
    } finally {
      if (holdsPlace) limiter.leave();
    }
  }

  /** Sends the answer. Once. */
  finish(answer: Answer): void {
    if (this.#finished) return;
    const { clock } = this.gateway.host;
    writeAnswer(this.req, this.res, this.method === 'HEAD', answer, this.#cors, this.#closes, clock);
    this.#leave();
  }

  get host(): WorkerHost {
    return this.gateway.host;
  }

  /** Sends the head of an answer that the function writes through its channel. */
  writeHead(head: StreamHead): void {
    writeStreamHead(this.res, head, this.#cors, this.#closes);
  }

  badHeader(name: string): void {
    this.host.log.warn('header not sent: its name or value is not possible', { path: this.path, header: name });
  }

  get #cors(): readonly string[] {
    return this.snapshot.cors.headers(this.headers.get('origin'));
  }

  get #closes(): boolean {
    return this.listener.closing || this.gateway.draining;
  }

  #leave(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#responseChannel?.abort('request_ended');
    // Somebody who reads the body may read it to its end, also after the answer.
    if (this.#requestChannel?.hasReader === false) this.#requestChannel.abort('request_ended');
    if (!this.req.complete && hasBody(this.headers) && this.#requestChannel?.isOver !== false) this.#dropBody();
    this.gateway.closed();
  }

  /** Lets the rest of a body that nobody wants pass by, for a while: the connection can be used again afterwards. */
  #dropBody(): void {
    const { req } = this;
    req.resume();
    const timer = this.gateway.host.clock.setTimer(() => req.destroy(), UNREAD_BODY_MS);
    req.once('close', () => timer.cancel()).on('error', () => undefined);
  }

  #handle(route: Route, taken: readonly string[]): Promise<End> {
    this.#query = queryJson(this.rawQuery);
    this.#params = pathParamsJson(route, taken);
    this.#headersText = headersJson(this.headers);
    const direct =
      this.snapshot.middlewareIds.length === 0 &&
      route.middlewareIds.length === 0 &&
      route.conditionId === undefined &&
      !hasBody(this.headers);
    return direct ? this.#callFunction(route) : this.#handleInSteps(route);
  }

  async #handleInSteps(route: Route): Promise<End> {
    for (const id of this.snapshot.middlewareIds) {
      const step = await this.#askMiddleware(id, route);
      if (step !== undefined) return step;
    }
    if (hasBody(this.headers)) {
      const step = await this.#takeBody();
      if (step !== undefined) return step;
    }
    if (route.conditionId !== undefined) {
      const step = await this.#askCondition(route.conditionId, route);
      if (step !== undefined) return step;
    }
    for (const id of route.middlewareIds) {
      const step = await this.#askMiddleware(id, route);
      if (step !== undefined) return step;
    }
    return this.#callFunction(route);
  }

  async #callFunction(route: Route): Promise<End> {
    const timeoutMs = this.#remainingMs;
    if (timeoutMs <= 0) return timedOut();
    const { host } = this.gateway;
    const response = (this.#responseChannel = host.channels.create(MANAGED));
    const reply = new Reply(this, this.res, response, this.#deadline);
    const body = hasBody(this.headers) ? this.#offerBody(reply) : host.channels.ended;
    this.res.on('close', () => this.#resClosed(reply));
    const end = await reply.ask({
      functionId: route.functionId,
      payload: this.#request(
        route,
        `,"request_body":${refJson(body, 'read')},"response":${refJson(response, 'write')}`,
      ),
      namespace: route.namespace,
      metadata: route.metadata,
      traceparent: this.#traceparent,
      baggage: this.#baggage,
      timeoutMs,
      handle: reply.handle,
    });
    return this.#endOf(route, end);
  }

  #endOf(route: Route, end: ReplyEnd): End {
    switch (end.kind) {
      case 'outcome':
        if (end.outcome.ok)
          return this.#checked(route, handlerAnswer(end.outcome.result, this.#warnOf(route.functionId)));
        if (end.outcome.cause === 'timeout') return timedOut();
        return this.#failed(route, errorOf(end.outcome, route.functionId, route.namespace));
      case 'head':
        return { status: end.head.status, headers: end.head.headers, body: '' };
      case 'nothing':
        return handlerAnswer(undefined, this.#warnOf(route.functionId));
      case 'late':
        return timedOut();
      case 'too_large':
        return tooLarge();
      case 'lost':
        return this.#failed(route, { code: HttpCode.internal, message: 'the response channel was lost' });
      case 'streaming':
      case 'gone':
        return end.kind;
    }
  }

  /** What the function reads through the request channel. */
  #offerBody(reply: Reply): Channel {
    const { channels, clock } = this.gateway.host;
    const channel = (this.#requestChannel = channels.create(MANAGED));
    if (this.#held !== undefined) channel.takeWriter(new HeldBody(channel, this.#held));
    else {
      const onTooLarge = (): void => reply.giveUp('too_large');
      channel.takeWriter(new StreamedBody(channel, this.req, this.snapshot.maxStreamedBytes, clock, onTooLarge));
    }
    return channel;
  }

  /** The response is written, or its client has left. */
  #resClosed(reply: Reply): void {
    if (!this.res.writableFinished) {
      reply.giveUp('gone');
      this.#requestChannel?.abort('client_gone');
    }
    this.#leave();
  }

  async #takeBody(): Promise<Step> {
    const { maxBodyBytes, maxStreamedBytes } = this.snapshot;
    const length = Number(this.headers.get('content-length') ?? 0);
    if (!isJson(this.headers.get('content-type'))) return length > maxStreamedBytes ? tooLarge() : undefined;
    if (length > maxBodyBytes) return tooLarge();
    const timeoutMs = this.#remainingMs;
    if (timeoutMs <= 0) return timedOut();
    const body = await readBody(this.req, maxBodyBytes, this.gateway.host.clock, timeoutMs);
    if (body === 'too_large') return tooLarge();
    if (body === 'late') return timedOut();
    if (body === 'aborted') return 'gone';
    this.#body = bodyJson(body);
    this.#held = body;
    return undefined;
  }

  async #askCondition(id: string, route: Route): Promise<Step> {
    const timeoutMs = this.#remainingMs;
    if (timeoutMs <= 0) return timedOut();
    const answer = await this.gateway.host.condition(id, {
      payload: this.#request(route),
      namespace: route.namespace,
      traceparent: this.#traceparent,
      baggage: this.#baggage,
      timeoutMs,
    });
    if (this.#clientLeft) return 'gone';
    if (answer.verdict === 'error') {
      return answer.error.code === ErrorCode.invocationTimeout ? timedOut() : this.#failed(route, answer.error);
    }
    if (answer.verdict === 'run') return undefined;
    return errorAnswer(422, HttpCode.conditionNotMet, 'Request condition not met', { skipped: true });
  }

  async #askMiddleware(id: string, route: Route): Promise<Step> {
    const timeoutMs = this.#remainingMs;
    if (timeoutMs <= 0) return timedOut();
    const context = this.#context === undefined ? '{}' : JSON.stringify(Object.fromEntries(this.#context));
    const outcome = await this.gateway.host.invoke({
      functionId: id,
      payload: Payload.fromJson(
        `{"phase":"${PRE_HANDLER}","request":{"path_params":${this.#params},"query_params":${this.#query},` +
          `"headers":${this.#headersText},"method":"${this.method}"},"context":${context}}`,
      ),
      namespace: route.namespace,
      traceparent: this.#traceparent,
      baggage: this.#baggage,
      timeoutMs,
    });
    if (this.#clientLeft) return 'gone';
    if (!outcome.ok) {
      if (outcome.cause === 'timeout') return errorAnswer(504, HttpCode.middlewareTimeout, 'Middleware timeout');
      return this.#failed(route, errorOf(outcome, id, route.namespace));
    }
    const verdict = outcome.result?.value;
    if (!isRecord(verdict) || (verdict['action'] !== 'continue' && verdict['action'] !== 'respond')) {
      this.gateway.host.log.warn('middleware answered neither continue nor respond: the request goes on', {
        function: id,
      });
      return undefined;
    }
    if (verdict['action'] === 'respond') {
      return this.#checked(route, middlewareAnswer(verdict['response'], this.#warnOf(id)));
    }
    const added = verdict['context'];
    if (isRecord(added)) {
      this.#context ??= new Map();
      for (const key of Object.keys(added)) this.#context.set(key, added[key]);
    }
    return undefined;
  }

  /** @param refs - the channels, as members that follow: functions receive them, conditions do not */
  #request(route: Route, refs = ''): Payload {
    const context =
      this.#context === undefined ? '' : `,"context":${JSON.stringify(Object.fromEntries(this.#context))}`;
    return Payload.fromJson(
      `{"query_params":${this.#query},"path_params":${this.#params},"headers":${this.#headersText},` +
        `"path":${route.pathJson},"method":"${this.method}","body":${this.#body},"trigger":${route.triggerJson},` +
        `"url_path":${JSON.stringify(this.path)},"raw_query":${JSON.stringify(this.rawQuery)}${context}${refs}}`,
    );
  }

  /** The envelope of a failure that someone should look into, logged under the id that the client gets. */
  #failed(route: Route, error: ErrorBody, thrown?: unknown): Answer {
    const { host } = this.gateway;
    const errorId = host.random.hex(ERROR_ID_BYTES);
    host.log.error('request failed', {
      error_id: errorId,
      route: `${route.method} ${route.path}`,
      function: route.functionId,
      code: error.code,
      error: error.message,
      ...(error.stacktrace === undefined ? {} : { stacktrace: error.stacktrace }),
      ...(thrown instanceof Error ? { stacktrace: thrown.stack } : {}),
    });
    return errorAnswer(500, error.code, error.message, { errorId });
  }

  /** A status of 1xx announces an answer and is none. */
  #checked(route: Route, answer: Answer): Answer {
    if (answer.status >= 200) return answer;
    const message = `status_code ${answer.status} cannot end a request`;
    return this.#failed(route, { code: HttpCode.internal, message });
  }

  #warnOf(functionId: string): OnBadHeader {
    const { log } = this.gateway.host;
    return (name) =>
      log.warn('header not sent: its name or value is not possible', { function: functionId, header: name });
  }

  get #remainingMs(): number {
    return this.#deadline - this.gateway.host.clock.monotonic();
  }

  get #clientLeft(): boolean {
    return this.res.destroyed || this.req.socket.destroyed;
  }
}

/** Ids and keys are UUIDs: they need no escaping. */
function refJson(channel: Channel, direction: 'read' | 'write'): string {
  return `{"channel_id":"${channel.id}","access_key":"${channel.key}","direction":"${direction}"}`;
}

function errorOf(outcome: Outcome & { ok: false }, functionId: string, namespace: string): ErrorBody {
  if (outcome.cause !== 'not_found') return outcome.error;
  return { code: outcome.error.code, message: `Function ${functionId} not found in namespace ${namespace}` };
}
