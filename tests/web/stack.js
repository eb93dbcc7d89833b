// Requests to the local stack beside its sockets, in the environment of scripts/local.sh env.

import assert from "node:assert/strict";

const { AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_REGION, TABLE_NAME } = process.env;
const nameOf = (what) => TABLE_NAME.replace(/connections$/, what);

/** The stack reads only the identity from a signature. */
async function call(service, path, body, headers) {
  const credential = `${AWS_ACCESS_KEY_ID}/20300101/${AWS_REGION}/${service}/aws4_request`;
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=host, Signature=0`;
  const request = { method: "POST", headers: { authorization, ...headers }, body: JSON.stringify(body) };
  const answer = await fetch(`${AWS_ENDPOINT_URL}${path}`, request);
  const result = await answer.json();
  assert.ok(answer.ok && !answer.headers.has("x-amz-function-error"), JSON.stringify(result));
  return result;
}

/** Sends as a backend does, and resolves with the receipt. */
export function publish(request) {
  return call("lambda", `/2015-03-31/functions/${nameOf("publish")}:live/invocations`, request);
}

/** Takes a session's next offset without writing a message, like a sender that dies. */
export function die(session) {
  const update = {
    TableName: nameOf("messages"),
    Key: { session_id: { S: session }, offset: { N: "0" } },
    UpdateExpression: "SET taken_at = :now ADD #last :one",
    ConditionExpression: "attribute_exists(epoch)",
    ExpressionAttributeNames: { "#last": "last" },
    ExpressionAttributeValues: { ":now": { N: `${Date.now()}` }, ":one": { N: "1" } },
  };
  const headers = { "content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.UpdateItem" };
  return call("dynamodb", "/", update, headers);
}
