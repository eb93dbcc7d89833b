"""The Python proof of concept that the hub grew out of, as such functions are usually written: plain boto3, one post after another."""

import json
import logging
import os

import boto3

logger = logging.getLogger()
logger.setLevel(logging.INFO)

table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
gateway = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["WEBSOCKET_ENDPOINT"])


def connections(session):
    """Every connection of a session, by way of the index."""
    query = {
        "IndexName": os.environ["SESSION_INDEX"],
        "KeyConditionExpression": "session_id = :session",
        "ExpressionAttributeValues": {":session": session},
    }
    found = []
    while True:
        page = table.query(**query)
        found += [item["connection_id"] for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            return found
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def send_message(event, context):
    try:
        frame = json.loads(event["body"])
        data = json.dumps(frame["message"]).encode()
        for session in frame["sessions"]:
            for connection in connections(session):
                gateway.post_to_connection(ConnectionId=connection, Data=data)
        logger.info("message sent to %s", frame["sessions"])
        return {"statusCode": 200}
    except Exception:
        logger.exception("message not sent")
        return {"statusCode": 500}
