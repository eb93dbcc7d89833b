// Which features the hub lacks. The gateway refuses a request about history or subscriptions that it does not know, and
// does not repeat its id.

/** The features with an unanswered request; if possible, only those that the hub has never answered. */
export function unanswered({ asked }, served) {
  const all = Object.keys(asked).filter((about) => asked[about] > 0);
  const never = all.filter((about) => !served.has(about));
  return never.length ? never : all;
}

/** If requests about both are unanswered, the next answer tells which feature is missing. */
export function findMissing(link, served) {
  const { asked, unknown } = link;
  const missing = unanswered(link, served);
  const isUndecided = missing.length > 1 && unknown < asked.history + asked.subscriptions;
  if (isUndecided) return [];
  link.unknown = 0;
  for (const about of missing) asked[about] -= Math.min(asked[about], unknown);
  return missing;
}
