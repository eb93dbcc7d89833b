// Compiled in a folder that has the package installed, never run: the types of the hooks.

import {
  connect,
  type HubClient,
  type HubState,
  type Message,
  type Receipt,
  type Session,
} from "@websocket-hub/client";
import {
  HubProvider,
  useConnect,
  useHub,
  useMessages,
  useSession,
  type Hub,
  type SessionStatus,
} from "@websocket-hub/client/react";

interface Chat {
  text: string;
}

const url = "wss://hub.example/live";

export function App({ user }: { user: { id: string; token: () => Promise<string> } }) {
  const client: HubClient<Chat> = useConnect<Chat>({ url, token: () => user.token() }, [user.id]);
  useConnect({ url, session: user.id, autoConnect: false });
  // @ts-expect-error An address is required.
  useConnect({ session: user.id });
  // @ts-expect-error The second argument is a list.
  useConnect({ url, session: user.id }, user.id);

  const own: Hub<Chat> = useHub(client);
  useMessages(({ message }) => message.text.length, client);
  useMessages("room", ({ message }) => message.text.length, own.client);
  return (
    <HubProvider client={client}>
      <Room name="room" />
      <Room />
    </HubProvider>
  );
}

function Room({ name }: { name?: string }) {
  const { client, state, send, post } = useHub<Chat>();
  const now: HubState = state;
  const same: HubClient<Chat> = client;
  useMessages<Chat>(({ message, from }) => console.log(from, message.text));
  useMessages<Chat>(name, ({ message }) => console.log(message.text));
  useMessages((message: Message<Chat>) => console.log(message.message.text));
  useMessages(({ message }) => console.log(message.any.thing));
  // @ts-expect-error A message is what its type says.
  useMessages<Chat>(({ message }) => console.log(message.txt));
  // @ts-expect-error A listener is required.
  useMessages(name);
  const room: SessionStatus<Chat, Session<Chat>> = useSession<Chat>("room");
  const any: SessionStatus<Chat> = useSession<Chat>(name, client);
  const status: [boolean, string | undefined] = [room.isReady, any.error?.session];
  // @ts-expect-error Without a name there is no session.
  useSession<Chat>(name).session.name;
  // @ts-expect-error A message is what its type says.
  void room.session.send({ txt: String(status) });
  const greet = async () => {
    const receipt: Receipt = await send("bob", { text: "hello" }, { ttl: 1_000 });
    const sent: boolean = post(["bob"], { text: receipt.id });
    return sent && same.name;
  };
  return <button onClick={() => void greet()}>{now.name}</button>;
}

export const outside = <HubProvider client={connect<Chat>({ url, session: "alice" })}>text</HubProvider>;
// @ts-expect-error A client is required.
export const none = <HubProvider>text</HubProvider>;
// @ts-expect-error A client is no address.
export const wrong = <HubProvider client={url} />;
