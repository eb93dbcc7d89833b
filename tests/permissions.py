"""Compares the permissions of the pipeline's roles with the calls that Terraform made, tries what no role may do, and lists what
each function may do with tables, sockets and other functions.

    permissions.py compare CALLS ROLE...    the calls that the local stack recorded, against the roles' policies, both ways
    permissions.py trespass HUB BUCKET      with the role of another environment: nothing of this hub can be touched
    permissions.py write HUB BUCKET         with the role that plans: nothing can be written
    permissions.py boundary HUB BOUNDARY    with the hub's own role: no role escapes its boundary
    permissions.py bounded HUB BOUNDARY OTHER  as an administrator: what a function that may do all may do within it
    permissions.py functions HUB            as each function of a hub with history and subscriptions: what it may do, and no more
"""

import functools
import json
import os
import sys
from fnmatch import fnmatchcase
from typing import Callable

import botocore.session
from botocore.exceptions import ClientError

# Permissions that are granted although no call used them, with the reason. Every other one must have been used.
NOT_CALLED = {
    "apigateway:PUT": "AWS may check the tags that come with a creation as this",
    "iam:ListRoleTags": "this version of the provider reads them with the role; another may not",
    "iam:PassRole": "no call of its own: AWS checks it when a function is created",
    "iam:PutRolePermissionsBoundary": "for roles from before the boundary",
    "iam:UpdateAssumeRolePolicy": "for a release that changes who assumes a function's role",
    "lambda:ListTags": "this version of the provider reads them with the function; another may not",
    **{f"logs:{verb}LogDelivery": "with access_logs, AWS checks it when the stage is changed" for verb in ("Create", "Delete", "Get", "Update")},
    "logs:ListLogDeliveries": "with access_logs, AWS checks it when the stage is changed",
}
# AWS allows this to every caller.
ALWAYS = "sts:GetCallerIdentity"
CANNOT_SHOW = """What this cannot show: permissions that AWS checks on the way (PassRole, tags that come with a creation, log delivery, KMS),
conditions whose keys the local stack fills in by itself, and what another version of the provider would call."""


def new(service: str):
    return botocore.session.get_session().create_client(service)


def policies(role: str) -> list[dict]:
    iam = new("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return [statement for name in names for statement in iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]]


def listed(value: "str | list") -> list:
    return value if isinstance(value, list) else [value]


def matches(call: dict, statement: dict) -> bool:
    return any(fnmatchcase(call["action"], action) for action in listed(statement["Action"])) and any(
        fnmatchcase(call["resource"], resource) for resource in listed(statement["Resource"])
    )


def compare(calls: list[dict], granted: dict[str, list[dict]], not_called: dict[str, str]) -> list[str]:
    """What is wrong between the calls and the statements of each role."""
    wrong, called = [], set()
    for call in calls:
        if call["role"] in granted and call["allowed"] and call["action"] != ALWAYS:
            called.add(call["action"])
            if not any(matches(call, statement) for statement in granted[call["role"]]):
                wrong.append(f"{call['role']} was allowed {call['action']} on {call['resource']}, which its policy does not say")
    actions = {action for statements in granted.values() for statement in statements for action in listed(statement["Action"])}
    wrong += [f"{action} is granted, and Terraform never called it: remove it, or add it to NOT_CALLED with a reason" for action in sorted(actions - called - {*not_called})]
    wrong += [f"{action} is listed as not called, and was called" for action in sorted(called & {*not_called})]
    wrong += [f"{action} is listed as not called, and is not granted" for action in sorted({*not_called} - actions)]
    return wrong


def compare_recorded(path: str, *roles: str) -> None:
    with open(path, encoding="utf-8") as file:
        calls = [json.loads(line) for line in file]
    wrong = compare(calls, {role: policies(role) for role in roles}, NOT_CALLED)
    print(f"{sum(call['role'] in roles for call in calls)} different calls of {len(roles)} roles; {len(NOT_CALLED)} permissions were not needed:")
    for action, why in NOT_CALLED.items():
        print(f"  {action}: {why}")
    print(CANNOT_SHOW)
    if wrong:
        sys.exit("\n".join(wrong))


def refused(calls: dict[str, Callable]) -> None:
    """Each call must be refused because a permission is missing."""
    for what, call in calls.items():
        try:
            call()
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            # HEAD has no body for a code.
            if not code.startswith("AccessDenied") and (code, status) != ("403", 403):
                sys.exit(f"{what}: {code} where it should have been refused: {error}")
        else:
            sys.exit(f"{what} was allowed")
    print(f"{len(calls)} calls were refused", file=sys.stderr)


def api_of(hub: str) -> tuple[str, str]:
    gateway = new("apigatewayv2")
    api = next(api["ApiId"] for api in gateway.get_apis()["Items"] if api["Name"] == hub)
    return api, f"arn:aws:apigateway:{gateway.meta.region_name}::/apis/{api}"


def subscription(hub: str) -> dict[str, list]:
    return {f"{hub}-subscriptions": [{"PutRequest": {"Item": {"session_id": {"S": "s"}, "connection_id": {"S": "c"}}}}]}


def writes(hub: str, bucket: str) -> dict[str, Callable]:
    """What changes a hub, by what it is called here."""
    functions, table, iam, logs, s3 = new("lambda"), new("dynamodb"), new("iam"), new("logs"), new("s3")
    gateway, alarms, rules = new("apigatewayv2"), new("cloudwatch"), new("events")
    api, arn = api_of(hub)
    region = functions.meta.region_name
    function, role, state = f"{hub}-connect", f"{hub}-connect-{region}", {"Bucket": bucket, "Key": f"{hub.rpartition('-')[2]}/terraform.tfstate"}
    own = {"websocket-hub": "ship-staging"}
    return {
        "new code of a function": lambda: functions.update_function_code(FunctionName=function, ZipFile=b"zip"),
        "new settings of a function": lambda: functions.update_function_configuration(FunctionName=function, Timeout=9),
        "another alias": lambda: functions.update_alias(FunctionName=function, Name="live", FunctionVersion="1"),
        "another caller of a function": lambda: functions.add_permission(FunctionName=function, StatementId="s", Action="lambda:InvokeFunction", Principal="*"),
        "invoking a function": lambda: functions.invoke(FunctionName=f"{function}:live", Payload=b"{}"),
        "deleting a function": lambda: functions.delete_function(FunctionName=function),
        "a function with this hub's name": lambda: functions.create_function(FunctionName=f"{hub}-new", Role=f"arn:aws:iam::000000000000:role/{role}", Code={"ZipFile": b"zip"}, Runtime="provided.al2023", Handler="bootstrap"),
        "another setting of the table": lambda: table.update_table(TableName=f"{hub}-connections", DeletionProtectionEnabled=True),
        "writing a row": lambda: table.put_item(TableName=f"{hub}-connections", Item={"connection_id": {"S": "c"}}),
        "deleting the table": lambda: table.delete_table(TableName=f"{hub}-connections"),
        "writing a subscription": lambda: table.batch_write_item(RequestItems=subscription(hub)),
        "deleting the table of subscriptions": lambda: table.delete_table(TableName=f"{hub}-subscriptions"),
        "another policy of a role": lambda: iam.put_role_policy(RoleName=role, PolicyName="function", PolicyDocument='{"Statement":[]}'),
        "another caller of a role": lambda: iam.update_assume_role_policy(RoleName=role, PolicyDocument='{"Statement":[]}'),
        "deleting a role": lambda: iam.delete_role(RoleName=role),
        "a policy for the role that deploys": lambda: iam.put_role_policy(RoleName=f"ship-deploy-production-{region}", PolicyName="more", PolicyDocument='{"Statement":[]}'),
        "another caller of the role that deploys": lambda: iam.update_assume_role_policy(RoleName=f"ship-deploy-production-{region}", PolicyDocument='{"Statement":[]}'),
        "another retention of logs": lambda: logs.put_retention_policy(logGroupName=f"/aws/lambda/{function}", retentionInDays=1),
        "deleting logs": lambda: logs.delete_log_group(logGroupName=f"/aws/lambda/{function}"),
        "writing the state": lambda: s3.put_object(**state, Body=b"{}"),
        "deleting the state": lambda: s3.delete_object(**state),
        "writing bootstrap's state": lambda: s3.put_object(Bucket=bucket, Key="bootstrap/terraform.tfstate", Body=b"{}"),
        "renaming the API": lambda: gateway.update_api(ApiId=api, Name="ship-staging"),
        "deleting the API": lambda: gateway.delete_api(ApiId=api),
        "another setting of the stage": lambda: gateway.update_stage(ApiId=api, StageName="live", Description="d"),
        "deleting the stage": lambda: gateway.delete_stage(ApiId=api, StageName="live"),
        "tagging the API": lambda: gateway.tag_resource(ResourceArn=arn, Tags=own),
        "tagging the stage": lambda: gateway.tag_resource(ResourceArn=f"{arn}/stages/live", Tags=own),
        "untagging the stage": lambda: gateway.untag_resource(ResourceArn=f"{arn}/stages/live", TagKeys=["websocket-hub"]),
        "another alarm": lambda: alarms.put_metric_alarm(AlarmName=f"{hub}-api-errors", ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1, MetricName="m", Namespace="n", Period=60, Statistic="Sum", Threshold=1),
        "deleting an alarm": lambda: alarms.delete_alarms(AlarmNames=[f"{hub}-api-errors"]),
        "deleting the dashboard": lambda: alarms.delete_dashboards(DashboardNames=[f"{hub}-{region}"]),
        "another rule": lambda: rules.put_rule(Name=f"{hub}-census", ScheduleExpression="rate(1 minute)"),
        "deleting a rule": lambda: rules.delete_rule(Name=f"{hub}-census"),
    }  # fmt: skip


def trespass(hub: str, bucket: str) -> None:
    table, s3, logs, functions = new("dynamodb"), new("s3"), new("logs"), new("lambda")
    refused({
        **writes(hub, bucket),
        "reading a row": lambda: table.get_item(TableName=f"{hub}-connections", Key={"connection_id": {"S": "c"}}),
        "reading a function": lambda: functions.get_function(FunctionName=f"{hub}-connect"),
        "reading logs": lambda: logs.filter_log_events(logGroupName=f"/aws/lambda/{hub}-connect"),
        "reading the state": lambda: s3.get_object(Bucket=bucket, Key=f"{hub.rpartition('-')[2]}/terraform.tfstate"),
    })  # fmt: skip


def write(hub: str, bucket: str) -> None:
    gateway, table, logs, s3 = new("apigatewayv2"), new("dynamodb"), new("logs"), new("s3")
    api, _ = api_of(hub)
    refused({
        **writes(hub, bucket),
        "an API": lambda: gateway.create_api(Name=hub, ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"),
        "a route": lambda: gateway.create_route(ApiId=api, RouteKey="more"),
        "an integration": lambda: gateway.create_integration(ApiId=api, IntegrationType="MOCK"),
        "a deployment": lambda: gateway.create_deployment(ApiId=api),
        "a query": lambda: logs.put_query_definition(name=f"{hub}/q", queryString="fields @message"),
        "a lock": lambda: s3.put_object(Bucket=bucket, Key=f"{hub.rpartition('-')[2]}/terraform.tfstate.tflock", Body=b"{}"),
        "reading a row": lambda: table.scan(TableName=f"{hub}-connections"),
        "reading logs": lambda: logs.filter_log_events(logGroupName=f"/aws/lambda/{hub}-connect"),
        "reading bootstrap's state": lambda: s3.get_object(Bucket=bucket, Key="bootstrap/terraform.tfstate"),
    })  # fmt: skip


def document(statement: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def trusting(principal: dict) -> str:
    return document({"Principal": principal, "Action": "sts:AssumeRole"})


def boundary(hub: str, arn: str) -> None:
    iam = new("iam")
    region = new("lambda").meta.region_name
    trust, everything = trusting({"Service": "lambda.amazonaws.com"}), document({"Action": "*", "Resource": "*"})
    role, other = f"{hub}-extra-{region}", "arn:aws:iam::aws:policy/AdministratorAccess"
    refused({
        "a role without the boundary": lambda: iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust),
        "a role with another boundary": lambda: iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust, PermissionsBoundary=other),
        "a role of another name": lambda: iam.create_role(RoleName="extra", AssumeRolePolicyDocument=trust, PermissionsBoundary=arn),
    })  # fmt: skip
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust, PermissionsBoundary=arn)
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=everything)
    refused({
        "taking the boundary away": lambda: iam.delete_role_permissions_boundary(RoleName=role),
        "setting another boundary": lambda: iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=other),
        "attaching a policy": lambda: iam.attach_role_policy(RoleName=role, PolicyArn=other),
        "changing the boundary": lambda: iam.create_policy_version(PolicyArn=arn, PolicyDocument=everything, SetAsDefault=True),
        "deleting the boundary": lambda: iam.delete_policy(PolicyArn=arn),
        "a policy of a role that has no boundary": lambda: iam.put_role_policy(RoleName=f"{hub}-bare-{region}", PolicyName="all", PolicyDocument=everything),
    })  # fmt: skip
    iam.delete_role_policy(RoleName=role, PolicyName="all")
    iam.delete_role(RoleName=role)


def assumed(role: str) -> botocore.session.Session:
    lent = new("sts").assume_role(RoleArn=f"arn:aws:iam::000000000000:role/{role}", RoleSessionName="function")["Credentials"]
    session = botocore.session.get_session()
    session.set_credentials(lent["AccessKeyId"], lent["SecretAccessKey"], lent["SessionToken"])
    return session


def bounded(hub: str, arn: str, other: str) -> None:
    iam, region = new("iam"), new("lambda").meta.region_name
    iam.create_role(RoleName=f"{hub}-bounded-{region}", AssumeRolePolicyDocument=trusting({"AWS": "*"}), PermissionsBoundary=arn)
    iam.put_role_policy(RoleName=f"{hub}-bounded-{region}", PolicyName="all", PolicyDocument=document({"Action": "*", "Resource": "*"}))
    session = assumed(f"{hub}-bounded-{region}")
    table, functions = session.create_client("dynamodb"), session.create_client("lambda")
    row, key = {"connection_id": {"S": "c"}, "session_id": {"S": "s"}}, {"connection_id": {"S": "c"}}
    table.put_item(TableName=f"{hub}-connections", Item=row)
    table.update_item(TableName=f"{hub}-connections", Key=key, UpdateExpression="ADD n :n", ExpressionAttributeValues={":n": {"N": "1"}})
    table.query(TableName=f"{hub}-connections", KeyConditionExpression="connection_id = :c", ExpressionAttributeValues={":c": {"S": "c"}})
    table.delete_item(TableName=f"{hub}-connections", Key=key)
    table.batch_write_item(RequestItems=subscription(hub))
    functions.invoke(FunctionName=f"{hub}-deliver:live", InvocationType="DryRun")
    refused({
        "listing roles": lambda: session.create_client("iam").list_roles(),
        "listing buckets": lambda: session.create_client("s3").list_buckets(),
        "a subscription at another hub": lambda: table.batch_write_item(RequestItems=subscription(other)),
        "a row of another hub": lambda: table.put_item(TableName=f"{other}-connections", Item=row),
        "deleting the table": lambda: table.delete_table(TableName=f"{hub}-connections"),
        "a function of another hub": lambda: functions.invoke(FunctionName=f"{other}-connect:live", Payload=b"{}"),
        "new code of a function": lambda: functions.update_function_code(FunctionName=f"{hub}-connect", ZipFile=b"zip"),
    })  # fmt: skip
    iam.delete_role_policy(RoleName=f"{hub}-bounded-{region}", PolicyName="all")
    iam.delete_role(RoleName=f"{hub}-bounded-{region}")


FANOUT = {
    "connections": {"delete", "query the index"},
    "subscriptions": {"delete", "query"},
    "messages": {"put", "update"},
    "sockets": {"post"},
    "functions": {"deliver:live"},
}
MAY = {
    "census": {"connections": {"scan the index"}},
    "connect": {"connections": {"put"}},
    "deliver": {"connections": {"delete"}, "subscriptions": {"delete"}, "sockets": {"post"}},
    "disconnect": {"connections": {"delete"}, "subscriptions": {"write in batches"}},
    "history": {"connections": {"get"}, "messages": {"get", "put", "query", "update"}},
    "membership": {"connections": {"get", "update"}, "subscriptions": {"write in batches"}, "messages": {"get", "update"}},
    "publish": FANOUT,
    "send-message": {**FANOUT, "connections": {"get", *FANOUT["connections"]}},
}
KEYS = {"connections": {"connection_id": "S"}, "subscriptions": {"session_id": "S", "connection_id": "S"}, "messages": {"session_id": "S", "offset": "N"}}


def may(call: Callable) -> bool:
    try:
        call()
    except ClientError as error:
        denied = error.response["ResponseMetadata"]["HTTPStatusCode"] == 403 or error.response["Error"]["Code"] == "AccessDeniedException"
        # The calls that are allowed find no item to change, and no socket.
        if not denied and error.response["Error"]["Code"] not in ("ConditionalCheckFailedException", "GoneException"):
            raise
        return not denied
    return True


def allowed(session: botocore.session.Session, hub: str) -> dict[str, set[str]]:
    """What a session may do: verbs by table, with sockets, and functions that it may invoke, by their names in the hub."""
    dynamodb, functions = session.create_client("dynamodb"), session.create_client("lambda")
    sockets, socket = session.create_client("apigatewaymanagementapi", endpoint_url=os.environ["WEBSOCKET_ENDPOINT"]), {"ConnectionId": "none="}
    invoke = functools.partial(functions.invoke, InvocationType="DryRun")
    arn = f"arn:aws:lambda:{functions.meta.region_name}:000000000000:function:{hub}-"
    found = {
        "sockets": {
            what for what, call in {
                "post": lambda: sockets.post_to_connection(**socket, Data=b"{}"),
                "look": lambda: sockets.get_connection(**socket),
                "close": lambda: sockets.delete_connection(**socket),
            }.items() if may(call)
        },
        # By the ARN, which the functions use too.
        "functions": {name for function in MAY for name in (function, f"{function}:live") if may(lambda: invoke(FunctionName=arn + name))},
    }  # fmt: skip
    for table, kinds in KEYS.items():
        name, key = {"TableName": f"{hub}-{table}"}, {attribute: {kind: "0"} for attribute, kind in kinds.items()}
        condition = {"ConditionExpression": "attribute_exists(nothing)"}
        value = {"ExpressionAttributeValues": {":value": {"S": "0"}}}
        query, index = {"KeyConditionExpression": f"{next(iter(kinds))} = :value", **value}, {"IndexName": "session_id-index"}
        calls = {
            "get": lambda: dynamodb.get_item(**name, Key=key),
            "put": lambda: dynamodb.put_item(**name, Item=key, **condition),
            "update": lambda: dynamodb.update_item(**name, Key=key, UpdateExpression="SET a = :value", **value, **condition),
            "delete": lambda: dynamodb.delete_item(**name, Key=key, **condition),
            "write in batches": lambda: dynamodb.batch_write_item(RequestItems={name["TableName"]: [{"DeleteRequest": {"Key": key}}]}),
            "read in batches": lambda: dynamodb.batch_get_item(RequestItems={name["TableName"]: {"Keys": [key]}}),
            "query": lambda: dynamodb.query(**name, **query),
            "scan": lambda: dynamodb.scan(**name, Limit=1),
            "delete the table": lambda: dynamodb.delete_table(**name),
        }  # fmt: skip
        if table == "connections":
            calls["query the index"] = lambda: dynamodb.query(**name, **index, KeyConditionExpression="session_id = :value", **value)
            calls["scan the index"] = lambda: dynamodb.scan(**name, **index, Limit=1)
        found[table] = {what for what, call in calls.items() if may(call)}
    return {table: verbs for table, verbs in found.items() if verbs}


def functions(hub: str) -> None:
    """Only Lambda may assume a function's role, so this assumes a copy of it."""
    iam, region = new("iam"), new("lambda").meta.region_name
    copy = f"{hub}-copy-{region}"
    for function, expected in MAY.items():
        iam.create_role(RoleName=copy, AssumeRolePolicyDocument=trusting({"AWS": "*"}))
        try:
            statements = policies(f"{hub}-{function}-{region}")
            iam.put_role_policy(RoleName=copy, PolicyName="copy", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
            found = allowed(assumed(copy), hub)
        finally:
            iam.delete_role_policy(RoleName=copy, PolicyName="copy")
            iam.delete_role(RoleName=copy)
        if found != expected:
            sys.exit(f"{function} may {found}, and should {expected}")
    print(f"{len(MAY)} functions have exactly the permissions that they should have", file=sys.stderr)


if __name__ == "__main__":
    {"compare": compare_recorded, "trespass": trespass, "write": write, "boundary": boundary, "bounded": bounded, "functions": functions}[sys.argv[1]](*sys.argv[2:])
