import { WebSocket } from 'ws';
import { waitFor } from './wait-for.js';

export interface RawChannelRef {
  readonly channel_id: string;
  readonly access_key: string;
  readonly direction: 'read' | 'write';
}

/**
 * An end of a channel on a bare socket: for what no SDK would do, and for seeing messages and Close frames
 * exactly as the engine sends them.
 */
export class RawChannel {
  readonly ws: WebSocket;
  /** Text messages as strings, binary ones as buffers. */
  readonly messages: (string | Buffer)[] = [];
  bytes = 0;
  closeCode: number | undefined;
  closeReason = '';
  /** Do not keep messages, only count their bytes. */
  isCounting = false;

  private constructor(ws: WebSocket) {
    this.ws = ws;
    ws.on('message', (data: Buffer, isBinary: boolean) => {
      this.bytes += data.length;
      if (!this.isCounting) this.messages.push(isBinary ? data : data.toString());
    });
    ws.on('close', (code, reason) => {
      this.closeCode = code;
      this.closeReason = reason.toString();
    });
    ws.on('error', () => undefined);
  }

  /**
   * Connects; the end may be closed by then.
   *
   * @param options - `closeTimeout`: as of `ws`, how long it waits for the engine's Close frame, in milliseconds
   */
  static async open(
    url: string,
    ref: RawChannelRef,
    headers: Record<string, string> = {},
    options: { readonly paused?: boolean; readonly autoPong?: boolean; readonly closeTimeout?: number } = {},
  ): Promise<RawChannel> {
    const address = `${url}/ws/channels/${ref.channel_id}?key=${ref.access_key}&dir=${ref.direction}`;
    const { paused, ...rest } = options;
    const ws = new WebSocket(address, { headers, ...rest });
    const channel = new RawChannel(ws);
    ws.once('open', () => {
      if (paused === true) ws.pause();
    });
    await waitFor(() => ws.readyState !== WebSocket.CONNECTING, { what: 'the channel to open' });
    return channel;
  }

  send(data: string | Buffer): void {
    this.ws.send(data);
  }

  close(): void {
    this.ws.close(1000, 'stream_complete');
  }

  /** Waits for the end and returns its Close code and reason. */
  async closed(): Promise<[code: number, reason: string]> {
    await waitFor(() => this.closeCode !== undefined, { what: 'the channel to close' });
    return [this.closeCode as number, this.closeReason];
  }

  /** The binary messages in one. */
  get binary(): Buffer {
    return Buffer.concat(this.messages.filter((message) => typeof message !== 'string'));
  }
}
