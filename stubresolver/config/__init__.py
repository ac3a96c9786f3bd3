"""From files to values: the configuration, the policies with their anchors, the log list."""

from stubresolver.config.anchors import certifi_file, web_anchors
from stubresolver.config.files import read_file, read_shipped
from stubresolver.config.log_list import installed_log_list, load_log_list
from stubresolver.config.options import DEFAULT_UPSTREAMS, LogsOptions
from stubresolver.config.policies import SHIPPED, LoadedPolicy, load_policy, load_policy_file, policy_layers
from stubresolver.config.profiles import PROFILE_KEYS, Profile, is_profile, parse_profile, read_profiles
from stubresolver.config.settings import PolicySource, Settings, load_settings, parse_settings

__all__ = [
    "DEFAULT_UPSTREAMS",
    "PROFILE_KEYS",
    "SHIPPED",
    "LoadedPolicy",
    "LogsOptions",
    "PolicySource",
    "Profile",
    "Settings",
    "certifi_file",
    "installed_log_list",
    "is_profile",
    "load_log_list",
    "load_policy",
    "load_policy_file",
    "load_settings",
    "parse_profile",
    "parse_settings",
    "policy_layers",
    "read_file",
    "read_profiles",
    "read_shipped",
    "web_anchors",
]
