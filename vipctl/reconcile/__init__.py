"""vipctl/reconcile"""
