"""What MiniStack's IAM lacks: the resources of some requests, condition keys of STS, IAM and API Gateway, and a record of each
role's calls."""

import json
import re
from urllib.parse import unquote

from ministack.core import iam_actions, iam_evaluator
from ministack.services import apigateway, cognito, iam, sts

# The claims that AWS's STS knows of GitHub's tokens.
GITHUB = "token.actions.githubusercontent.com"
GITHUB_CLAIMS = ("actor", "actor_id", "aud", "enterprise_id", "environment", "job_workflow_ref", "ref", "repository", "repository_id", "sub", "workflow")

extract_resource_arn = iam_actions.extract_resource_arn
request_tag_context = iam_actions.request_tag_context
web_identity_principal = sts._web_identity_principal
enforce = iam_evaluator.enforce
lambda_action = iam_actions._lambda_action


def document(body: bytes) -> dict:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def first(params: dict, *names: str) -> str:
    return next((value[0] if isinstance(value, list) else value for name in names if (value := params.get(name))), "")


def lambda_action_of_aliases(method: str, path: str) -> "str | None":
    """MiniStack takes every request about one alias for ListAliases."""
    if re.search(r"/functions/[^/]+/aliases/[^/]+$", path):
        return {"GET": "GetAlias", "PUT": "UpdateAlias", "DELETE": "DeleteAlias"}.get(method)
    return lambda_action(method, path)


def resource_arn(service, method, path, headers, body, params, region, account) -> str:
    """The ARN that MiniStack finds, unless that is only *."""
    found = extract_resource_arn(service, method, path, headers, body, params, region, account)
    data = document(body)
    if service == "events":
        # Rules of the default bus are named without it.
        found = found.replace(":rule/default/", ":rule/")
        name = data.get("Rule")
        return data.get("ResourceARN") or (f"arn:aws:events:{region}:{account}:rule/{name}" if name else found)
    if found != "*":
        return found
    if service == "dynamodb":
        return data.get("ResourceArn", found)
    if service == "lambda" and data.get("FunctionName"):
        return f"arn:aws:lambda:{region}:{account}:function:{data['FunctionName']}"
    if service == "monitoring":
        alarm = first(params, "AlarmNames.member.1") if first(params, "Action") != "DescribeAlarms" else ""
        dashboard = first(params, "DashboardName", "DashboardNames.member.1")
        if alarm:
            return f"arn:aws:cloudwatch:{region}:{account}:alarm:{alarm}"
        return f"arn:aws:cloudwatch::{account}:dashboard/{dashboard}" if dashboard else first(params, "ResourceARN") or found
    return found


def boundary_keys(action: str, params: dict) -> dict:
    """iam:PermissionsBoundary is what a request sets, or else what the role has."""
    asked = first(params, "PermissionsBoundary")
    has = (iam._roles.get(first(params, "RoleName")) or {}).get("PermissionsBoundary")
    found = asked if action in ("iam:CreateRole", "iam:PutRolePermissionsBoundary") else has
    return {"iam:PermissionsBoundary": found} if found else {}


def request_keys(service: str, action: str, body: bytes, params: dict) -> dict:
    keys = request_tag_context(service, action, body, params)
    if service == "iam":
        return {**keys, **boundary_keys(action, params)}
    if service != "apigateway":
        return keys
    data = document(body)
    tags = data.get("tags") or {}
    keys |= {f"aws:RequestTag/{name}": value for name, value in tags.items()}
    return {**keys, **({"aws:TagKeys": list(tags)} if tags else {}), **({"apigateway:Request/ApiName": data["name"]} if "name" in data else {})}


def gateway_keys(arn: str, keys: dict) -> dict:
    """The condition keys of the API, stage or domain that a request is about."""
    path = arn.split("::", 1)[1]
    api = re.fullmatch(r"/apis/([^/]+)", path)
    known = {key: value for key, value in keys.items() if key != "apigateway:Request/ApiName" or api or path == "/apis"}
    if api and api[1] in apigateway._apis:
        known["apigateway:Resource/ApiName"] = apigateway._apis[api[1]]["name"]
    # AWS documents no resource tags for the call that sets tags. The policies work with them and without.
    about = unquote(path.removeprefix("/tags/")) if path.startswith("/tags/") else arn
    tags = apigateway._tag_store(about).get(about, {})
    return {**known, **{f"aws:ResourceTag/{name}": value for name, value in tags.items()}}


recorded: set[tuple] = set()


def enforce_and_record(key: str, action: str, service: str, region: str, resource_arn: str = "*", service_context: "dict | None" = None):
    """Each role's first call of each action on each resource is a line of calls.jsonl in the stack's folder."""
    keys = service_context or {}
    if ":apigateway:" in resource_arn:
        keys = gateway_keys(resource_arn, keys)
    answer = enforce(key, action, service, region, resource_arn, keys)
    role = re.search(":assumed-role/([^/]+)/", iam_evaluator.caller_arn() or "")
    call = (role[1] if role else "", action, resource_arn, answer is None)
    if role and call not in recorded:
        recorded.add(call)
        with open("calls.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(dict(zip(("role", "action", "resource", "allowed"), call))) + "\n")
    return answer


def github_principal(token: str, provider: str, role: str) -> tuple:
    principal, keys = web_identity_principal(token, provider, role)
    if principal.endswith(f"/{GITHUB}"):
        claims = cognito._decode_id_token_unverified(token)
        keys = {f"{GITHUB}:{name}": str(claims[name]) for name in GITHUB_CLAIMS if name in claims}
    return principal, keys


iam_actions.extract_resource_arn = resource_arn
iam_actions.request_tag_context = request_keys
iam_actions._lambda_action = lambda_action_of_aliases
iam_evaluator.enforce = enforce_and_record
sts._web_identity_principal = github_principal
