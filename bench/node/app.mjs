// The fan-out as such functions are usually written in Node.js: the AWS SDK, and all posts at once.

import { ApiGatewayManagementApiClient, PostToConnectionCommand } from "@aws-sdk/client-apigatewaymanagementapi";
import { DynamoDBClient, paginateQuery } from "@aws-sdk/client-dynamodb";

const table = new DynamoDBClient();
const gateway = new ApiGatewayManagementApiClient({ endpoint: process.env.WEBSOCKET_ENDPOINT });

async function sendMessage(event) {
  const { sessions, message } = JSON.parse(event.body);
  const Data = JSON.stringify(message);
  const posts = [];
  for (const session of sessions) {
    const query = {
      TableName: process.env.TABLE_NAME,
      IndexName: process.env.SESSION_INDEX,
      KeyConditionExpression: "session_id = :session",
      ExpressionAttributeValues: { ":session": { S: session } },
    };
    for await (const page of paginateQuery({ client: table }, query)) {
      for (const { connection_id } of page.Items) {
        posts.push(gateway.send(new PostToConnectionCommand({ ConnectionId: connection_id.S, Data })));
      }
    }
  }
  await Promise.all(posts);
  return { statusCode: 200 };
}

// In place of Lambda's own runtime client, which costs more.
const invocation = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
for (;;) {
  const next = await fetch(`${invocation}/next`);
  const answer = await sendMessage(await next.json());
  const id = next.headers.get("lambda-runtime-aws-request-id");
  await fetch(`${invocation}/${id}/response`, { method: "POST", body: JSON.stringify(answer) });
}
