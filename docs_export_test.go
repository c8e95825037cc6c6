package k8sretry

// Generated lets the tests from outside keep their pages, too.
var Generated = generated
