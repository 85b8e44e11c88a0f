/** The engine's `worker::*` functions, as the commands use them. */
import { realpath } from 'node:fs/promises';
import { engineUrl } from '../client/address.js';
import { EngineConnection, UnreachableError } from '../client/engine-connection.js';
import { CliError } from '../terminal/errors.js';
import { say } from '../terminal/output.js';
import type { LocalProject } from './local-project.js';

const CLIENT_NAME = 'iii-cli';
/** Longest wait for operations that start nothing, in milliseconds. */
export const SHORT_TIMEOUT_MS = 30_000;
/** How long the engine itself waits for a worker to be ready, in milliseconds. */
export const READY_TIMEOUT_MS = 120_000;
/** The engine's answer comes within its own wait; this much later it is lost. In milliseconds. */
const ANSWER_SLACK_MS = 15_000;
export const LONG_TIMEOUT_MS = READY_TIMEOUT_MS + ANSWER_SLACK_MS;

/** A `worker::*` call that the engine refused. */
export class WorkerOpError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'WorkerOpError';
  }
}

export type Row = Readonly<Record<string, unknown>>;

export class WorkerOps {
  readonly url: string;
  readonly #connection: EngineConnection;

  private constructor(url: string, connection: EngineConnection) {
    this.url = url;
    this.#connection = connection;
  }

  /** @throws UnreachableError when nothing listens there */
  static async connect(url: string): Promise<WorkerOps> {
    return new WorkerOps(url, await EngineConnection.open(url, CLIENT_NAME));
  }

  /** @throws WorkerOpError with the code of the refusal, CliError when no answer comes */
  async call(functionId: string, input: Row, timeoutMs: number = SHORT_TIMEOUT_MS): Promise<Row> {
    const answer = await this.#connection.invoke(functionId, JSON.stringify(input), { timeoutMs });
    if (!answer.ok) throw refusal(answer.error.code, answer.error.message);
    const value: unknown = JSON.parse(answer.resultJson ?? 'null');
    return isRow(value) ? value : {};
  }

  /** The rows of a list answer, e.g. `workers`. */
  async list(functionId: string, input: Row, key: string): Promise<Row[]> {
    const rows = (await this.call(functionId, input))[key];
    return Array.isArray(rows) ? rows.filter(isRow) : [];
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}

/**
 * The running engine of this project: at `III_URL`, else at the port of config.yaml.
 *
 * @returns undefined when none runs, or when the engine there runs another project
 */
export async function findEngine(project: LocalProject, port?: number): Promise<WorkerOps | undefined> {
  const isNamed = Boolean(process.env['III_URL']) || port !== undefined;
  const at = port ?? project.port;
  if (!isNamed && at === 0) return undefined;
  const url =
    port === undefined ? engineUrl({}, process.env, at, project.host) : engineUrl({ port: String(port) }, process.env);
  let ops: WorkerOps;
  try {
    ops = await WorkerOps.connect(url);
  } catch (error) {
    if (error instanceof UnreachableError && !isNamed) return undefined;
    throw error;
  }
  if (isNamed || !project.hasConfig) return ops;
  const other = await configOf(ops);
  if (other === undefined || (await samePath(other, project.configPath))) return ops;
  say(
    `note: the engine at ${url} runs another project (${other}); give this one a port of its own under iii-worker-manager.`,
  );
  await ops.close();
  return undefined;
}

/** @throws CliError naming the address when no engine of this project runs */
export async function requireEngine(project: LocalProject, port?: number): Promise<WorkerOps> {
  const ops = await findEngine(project, port);
  if (ops !== undefined) return ops;
  const at = port === undefined ? engineUrl({}, {}, project.port, project.host) : engineUrl({ port: String(port) }, {});
  throw new CliError(`error: no iii engine runs at ${at} (start it with \`iii\`)`);
}

/** Runs with a connection and closes it; refusals become messages for people. */
export async function withOps<T>(ops: WorkerOps, run: (ops: WorkerOps) => Promise<T>): Promise<T> {
  try {
    return await run(ops);
  } catch (error) {
    if (error instanceof WorkerOpError) {
      throw new CliError(
        error.message.split('\n').map((line, i) => (i === 0 ? `error: ${line}` : `  ${line}`)),
        { cause: error },
      );
    }
    throw error;
  } finally {
    await ops.close();
  }
}

/** The config.yaml of an engine, or undefined when it does not tell. */
async function configOf(ops: WorkerOps): Promise<string | undefined> {
  try {
    const path = (await ops.call('worker::list', {}))['config_path'];
    return typeof path === 'string' ? path : undefined;
  } catch {
    return undefined; // an engine without worker::list says so when it is asked for something
  }
}

async function samePath(a: string, b: string): Promise<boolean> {
  const real = (path: string): Promise<string> => realpath(path).catch(() => path);
  return (await real(a)) === (await real(b));
}

/** The text for people inside a `WorkerOpError` message, which is JSON on the wire. */
function refusal(code: string, message: string): Error {
  if (code === 'function_not_found')
    return new CliError('error: this engine does not manage workers (it was started without a config.yaml)');
  try {
    const body: unknown = JSON.parse(message);
    if (isRow(body) && typeof body['message'] === 'string') return new WorkerOpError(code, body['message']);
  } catch {
    // not JSON: the message is for people as it is
  }
  return new WorkerOpError(code, message);
}

export function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function asText(value: unknown): string | undefined {
  if (typeof value === 'string' && value !== '') return value;
  return typeof value === 'number' ? String(value) : undefined;
}
